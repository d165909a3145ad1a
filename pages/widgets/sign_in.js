// The form at the door. It talks to /api/session and then loads the page anew, so that the new session begins with nothing of
// the old one. What a person types never passes through Streamlit's own widgets, whose values are kept on the server.

const ROUTES = { sign_in: "", join: "/account", forgot: "/reset", password: "/password" }

function leads(data) {
  return {
    sign_in: "Sign in to your team's studio",
    forgot: "We send you a link to set a new password",
    join: data.invitation ? "You are invited: make your account" : "Make your account",
    password: "Set a new password",
    left: data.lead,
  }
}

// A link in a mail may lead over the project's own page, which hands on what it has to say behind the #.
function readHash() {
  const hash = new URLSearchParams(location.hash.slice(1))
  const found = Object.fromEntries(["access_token", "type", "error", "error_code"].map((name) => [name, hash.get(name) ?? ""]))
  if (found.access_token || found.error) history.replaceState(history.state, "", location.pathname + location.search)
  return found
}

async function send(method, path, body) {
  let answer
  try {
    answer = await fetch(`/api/session${path}`, {
      method,
      headers: { "content-type": "application/json" },
      body: body && JSON.stringify(body),
    })
  } catch {
    return { error: { message: "The app does not answer.", next_step: "Check that it is running, then try again." } }
  }
  try {
    const content = answer.status === 204 ? {} : await answer.json()
    return answer.ok ? { content } : { error: content }
  } catch {
    return { error: { message: `The app answered ${answer.status}.`, next_step: "Try again in a minute." } }
  }
}

export default function (component) {
  const { data, parentElement } = component
  const find = (selector) => parentElement.querySelector(selector)
  const all = (selector) => [...parentElement.querySelectorAll(selector)]
  const card = find(".card")
  if (card.dataset.ready) return
  card.dataset.ready = "yes"

  const hash = readHash()
  let mode = data.mode
  let busy = false

  const tell = (notice, error) => {
    find(".notice").hidden = !notice
    find(".notice").textContent = notice ?? ""
    find(".failed").hidden = !error
    find(".failed .title").textContent = error?.message ?? ""
    find(".failed .hint").textContent = error?.next_step ?? ""
  }

  const go = (next, focus = true) => {
    const typed = find(`form[data-mode=${mode}] input[name=email]`)?.value
    mode = next
    for (const form of all("form")) form.hidden = form.dataset.mode !== mode
    find(".lead").textContent = leads(data)[mode]
    const email = find(`form[data-mode=${mode}] input[name=email]`)
    if (email && !email.value) email.value = typed ?? ""
    const first = all(`form[data-mode=${mode}] input`).find((input) => input.offsetParent && !input.value)
    if (focus) (first ?? find(`form[data-mode=${mode}] .main`))?.focus({ preventScroll: true })
  }

  const submit = async (form) => {
    if (mode === "left") return location.reload()
    if (busy) return
    const body = Object.fromEntries(new FormData(form))
    if (mode === "join") body.invitation = data.invitation || body.invitation
    if (mode === "password") {
      body.token_hash = data.token_hash
      body.access_token = hash.access_token
    }
    const button = form.querySelector(".main")
    busy = button.disabled = true
    tell()
    const { content, error } = await send("POST", ROUTES[mode], body)
    busy = button.disabled = false
    if (error) {
      tell(null, error)
      form.querySelector("input[name=password]")?.select()
    } else if (!content.signed_in) {
      tell(content.message)
      go("sign_in", false)
    } else if (mode === "sign_in" && !location.pathname.endsWith("/sign_in")) {
      location.reload()
    } else {
      location.replace("/")
    }
  }

  find(".join").textContent = data.is_open ? "Create an account" : "I have an invitation"
  find(".code").hidden = Boolean(data.invitation) || data.is_open
  find("form[data-mode=left] .main").textContent = data.action
  for (const input of all("input[name=email]")) input.value = data.email
  for (const button of all("[data-go]"))
    button.onclick = () => {
      tell()
      go(button.dataset.go)
    }
  for (const button of all(".show"))
    button.onclick = () => {
      const input = button.parentElement.querySelector("input")
      const shown = input.type === "password"
      input.type = shown ? "text" : "password"
      button.textContent = shown ? "Hide" : "Show"
      button.setAttribute("aria-pressed", String(shown))
      input.focus()
    }
  for (const form of all("form"))
    form.onsubmit = (event) => {
      event.preventDefault()
      submit(form)
    }

  if (hash.type === "recovery" && hash.access_token) mode = "password"
  go(mode)
  if (hash.error)
    tell(null, { message: "This link was used before or is too old.", next_step: "Ask for a new one." })
  else if (hash.access_token && mode !== "password") tell("Your e-mail address is confirmed. Sign in with your password.")
}
