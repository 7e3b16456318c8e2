// A page of an app believes that it was loaded from localhost, and some write that into addresses:
// `ws://localhost:8000/ws`, or the port that their server listens on. Here is where these are.
(() => {
  document.currentScript.remove()
  const ownPort = location.hostname.split('--')[0]
  const local = new Set(['localhost', '127.0.0.1', '0.0.0.0', '[::1]', location.hostname])
  const found = (address) => {
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
    const prefix = port === ownPort ? '' : `/.mistle/port/${port}`
    return `${scheme}//${location.host}${prefix}${url.pathname}${url.search}${url.hash}`
  }
  const foundRequest = (input) => {
    if (!(input instanceof Request)) return found(input)
    const address = found(input.url)
    return address === input.url ? input : new Request(address, input)
  }
  const constructs = (name) => {
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
  constructs('WebSocket')
  constructs('EventSource')
  calls(window, 'fetch', 0, foundRequest)
  calls(XMLHttpRequest.prototype, 'open', 1, found)
  calls(Navigator.prototype, 'sendBeacon', 0, found)
})()
