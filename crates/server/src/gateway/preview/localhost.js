// A page of an app believes that it was loaded from localhost, and some write that into addresses:
// `ws://localhost:8000/ws`, or the port that their server listens on. Here is where these are.
(() => {
  document.currentScript.remove()
  const [ownPort, rest] = location.host.split(/--(.*)/)
  const local = new Set(['localhost', '127.0.0.1', '0.0.0.0', '[::1]', '[::]', location.hostname])
  // A page of another port is on its own origin; what a page is made of comes by this one.
  const found = (address, isPage = false) => {
    let url
    try {
      url = new URL(address, document.baseURI)
    } catch {
      return address
    }
    const [, kind, secure] = /^(http|ws)(s?):$/.exec(url.protocol) ?? []
    if (!kind || !local.has(url.hostname) || url.host === location.host) return address
    const port = url.port || (secure ? '443' : '80')
    const scheme = location.protocol.replace('http', kind)
    const isOwn = port === ownPort
    const host = isPage && !isOwn ? `${port}--${rest}` : location.host
    const prefix = isPage || isOwn ? '' : `/.mistle/port/${port}`
    return `${scheme}//${host}${prefix}${url.pathname}${url.search}${url.hash}`
  }
  const foundPage = (address) => found(address, true)
  const foundRequest = (input) => {
    if (!(input instanceof Request)) return found(input)
    const address = found(input.url)
    return address === input.url ? input : new Request(address, input)
  }
  const constructs = (name) => {
    if (!window[name]) return
    window[name] = new Proxy(window[name], {
      construct: (target, [address, ...rest], self) => Reflect.construct(target, [found(address), ...rest], self),
    })
  }
  const calls = (owner, name, index, change) => {
    owner[name] = new Proxy(owner[name], {
      apply: (target, self, given) =>
        Reflect.apply(target, self, given.length > index ? given.with(index, change(given[index])) : given),
    })
  }
  for (const name of ['WebSocket', 'EventSource', 'Worker', 'SharedWorker']) constructs(name)
  calls(window, 'fetch', 0, foundRequest)
  calls(window, 'open', 0, foundPage)
  calls(XMLHttpRequest.prototype, 'open', 1, found)
  calls(Navigator.prototype, 'sendBeacon', 0, found)
  if (window.ServiceWorkerContainer) calls(ServiceWorkerContainer.prototype, 'register', 0, found)

  // Elements that scripts make. What is no text, or names no host, is as it was.
  const parts = {
    Image: ['src'],
    Script: ['src'],
    Media: ['src'],
    Source: ['src'],
    Track: ['src'],
    Embed: ['src'],
    Link: ['href'],
    Video: ['poster'],
    Object: ['data'],
    Input: ['src'],
    IFrame: ['src'],
  }
  const named = /^\s*((https?|wss?):)?\/\//i
  const changed = (element, value) => {
    const address = value instanceof URL ? value.href : value
    if (typeof address !== 'string' || !named.test(address)) return value
    return element instanceof HTMLIFrameElement ? foundPage(address) : found(address)
  }
  for (const [kind, names] of Object.entries(parts)) {
    const prototype = window[`HTML${kind}Element`].prototype
    for (const name of names) {
      const own = Object.getOwnPropertyDescriptor(prototype, name)
      Object.defineProperty(prototype, name, {
        ...own,
        set(value) {
          own.set.call(this, changed(this, value))
        },
      })
    }
  }
  const isPart = (element, name) =>
    Object.entries(parts).some(
      ([kind, names]) => names.includes(name) && element instanceof window[`HTML${kind}Element`],
    )
  Element.prototype.setAttribute = new Proxy(Element.prototype.setAttribute, {
    apply: (target, self, given) => {
      const [name, value] = given
      const isAddress = typeof value === 'string' && named.test(value)
      const isFound = isAddress && isPart(self, `${name}`.toLowerCase())
      return Reflect.apply(target, self, isFound ? given.with(1, changed(self, value)) : given)
    },
  })

  // Links and forms stay as they are until somebody follows them.
  const lead = (element, name) => {
    const address = element?.getAttribute(name)
    if (!address || !named.test(address)) return
    const right = foundPage(address)
    if (right !== address) element.setAttribute(name, right)
  }
  const follow = ({ target }) => target instanceof Element && lead(target.closest('a[href], area[href]'), 'href')
  for (const kind of ['pointerdown', 'click', 'auxclick', 'contextmenu', 'keydown']) addEventListener(kind, follow, true)
  addEventListener(
    'submit',
    ({ target, submitter }) => {
      lead(target, 'action')
      lead(submitter, 'formaction')
    },
    true,
  )
})()
