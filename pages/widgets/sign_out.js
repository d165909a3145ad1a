// Ends the session of this browser, in all its tabs, and opens the door's page.

export default function (component) {
  const button = component.parentElement.querySelector("button")
  const problem = component.parentElement.querySelector("p")
  button.onclick = async () => {
    problem.hidden = true
    button.disabled = true
    try {
      const answer = await fetch("/api/session", { method: "DELETE" })
      if (answer.ok) return location.replace("/")
      const { message, next_step } = await answer.json()
      problem.textContent = `${message} ${next_step}`
    } catch {
      problem.textContent = "The app does not answer. Check that it is running, then try again."
    }
    button.disabled = false
    problem.hidden = false
  }
}
