// Browsers start no workers of pages on disk: there, the search of Material for MkDocs runs in a hidden frame. The theme
// would load such a file from another host (its offline plugin's `polyfills`).
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.addEventListener("answer", event => this.dispatchEvent(new MessageEvent("message", { data: event.detail })))
      this.ready = new Promise(resolve => this.frame.addEventListener("load", resolve))
      this.frame.srcdoc =
        "<script>postMessage = detail => frameElement.dispatchEvent(new CustomEvent('answer', { detail }))</script>" +
        `<script src="${new URL(url, location)}"></script>`
      document.body.append(this.frame)
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
