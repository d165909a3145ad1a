// Streams one file to PUT /api/datasets with progress and cancel. The upload belongs to the browser tab, not to the page
// that shows it: it goes on while the person looks elsewhere in the studio, and the uploader shows it again on return.

const tab = (window.loraStudioUpload ??= { active: null, show: null, done: null })

const UNITS = ["bytes", "kB", "MB", "GB", "TB"]

function size(bytes) {
  const power = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1)
  return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${UNITS[power]}`
}

const keepTab = (event) => event.preventDefault()

function begin(file) {
  const upload = { file, loaded: 0, total: file.size, request: new XMLHttpRequest(), error: null }
  const { request } = upload
  const end = (error) => {
    window.removeEventListener("beforeunload", keepTab)
    tab.active = error ? { ...upload, request: null, error } : null
    tab.show?.()
  }
  request.upload.onprogress = (event) => {
    upload.loaded = event.loaded
    tab.show?.()
  }
  request.onload = () => {
    if (request.status === 201) {
      end(null)
      tab.done?.(JSON.parse(request.responseText))
    } else {
      end(readError(request))
    }
  }
  request.onerror = () =>
    end({ message: "The upload broke off.", next_step: "Check that the app is running, then try again." })
  request.onabort = () => end(null)
  request.open("PUT", `/api/datasets?file=${encodeURIComponent(file.name)}`)
  request.send(file)
  window.addEventListener("beforeunload", keepTab)
  tab.active = upload
  tab.show?.()
}

function readError(request) {
  try {
    const { message, next_step } = JSON.parse(request.responseText)
    return { message, next_step }
  } catch {
    return { message: `The app answered ${request.status}.`, next_step: "Try again; if it stays so, look into the app's log." }
  }
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const find = (selector) => parentElement.querySelector(selector)
  const [drop, input, idle, busy, failed] = [".drop", "input", ".idle", ".busy", ".failed"].map(find)

  const show = () => {
    const upload = tab.active
    const running = Boolean(upload?.request)
    idle.hidden = running
    busy.hidden = !running
    failed.hidden = !upload?.error
    if (upload?.error) {
      find(".failed .title").textContent = upload.error.message
      find(".failed .hint").textContent = upload.error.next_step
      find(".again").hidden = !upload.file
    }
    if (running) {
      const percent = upload.total ? Math.floor((100 * upload.loaded) / upload.total) : 100
      find(".name").textContent = upload.file.name
      find(".amount").textContent = `${size(upload.loaded)} of ${size(upload.total)}`
      find("progress").value = percent
      const state = percent < 100 ? `Uploading, ${Math.floor(percent / 10) * 10} %` : "Storing the file ..."
      if (find(".state").textContent !== state) find(".state").textContent = state
    }
  }

  const take = (files) => {
    const [file] = files
    if (!file || tab.active?.request) return
    const refuse = (message, next_step) => {
      tab.active = { request: null, file: null, error: { message, next_step } }
      show()
    }
    if (files.length > 1) return refuse("One file at a time, please.", "Join the files, or upload them one after the other.")
    if (file.size > data.max_bytes)
      return refuse(`${file.name} is larger than ${size(data.max_bytes)}.`, "Split it, or compress it (.gz or .zst).")
    begin(file)
  }

  find(".idle .hint").textContent = `JSONL, JSON, CSV, Parquet or text, also as .gz or .zst. Up to ${size(data.max_bytes)}.`
  find(".choose").onclick = () => input.click()
  find(".cancel").onclick = () => tab.active?.request?.abort()
  find(".again").onclick = () => begin(tab.active.file)
  input.onchange = () => {
    take(input.files)
    input.value = ""
  }
  drop.ondragover = (event) => {
    event.preventDefault()
    drop.classList.add("over")
  }
  drop.ondragleave = () => drop.classList.remove("over")
  drop.ondrop = (event) => {
    event.preventDefault()
    drop.classList.remove("over")
    take(event.dataTransfer.files)
  }
  tab.show = show
  tab.done = (dataset) => setTriggerValue("uploaded", dataset)
  show()
  return () => {
    if (tab.show === show) tab.show = tab.done = null
  }
}
