// A link that looks like a button. The route is asked first (HEAD), so that a refusal is read here and not in an empty tab.

export default function (component) {
  const { data, parentElement } = component
  const link = parentElement.querySelector("a")
  const problem = parentElement.querySelector("p")
  link.href = data.url
  link.className = data.primary ? "primary" : ""
  parentElement.querySelector(".label").textContent = data.label
  link.onclick = async (event) => {
    if (link.dataset.asked) return delete link.dataset.asked
    event.preventDefault()
    problem.hidden = true
    try {
      const answer = await fetch(data.url, { method: "HEAD" })
      if (answer.ok) {
        link.dataset.asked = "yes"
        link.click()
        return
      }
      const { message, next_step } = await (await fetch(data.url)).json()
      problem.textContent = `${message} ${next_step}`
    } catch {
      problem.textContent = "The app does not answer. Check that it is running, then try again."
    }
    problem.hidden = false
  }
}
