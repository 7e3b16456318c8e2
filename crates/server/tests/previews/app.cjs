// A web app without dependencies: what a preview has to carry.
const http = require("node:http");
const crypto = require("node:crypto");
const port = Number(process.argv[1] ?? process.env.PORT);

// Who reads events.
const readers = new Set();
// How much each download has written, and who waits for how much.
const written = [];
const waiting = new Set();
const tell = () => waiting.forEach((look) => look());

const pages = {
  "/": (_, answer) => answer.setHeader("content-type", "text/html").end(`<h1>port ${port}</h1>`),
  "/page": (_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html><head><title>x</title></head>"),
  "/absolute": (_, answer) => {
    answer.setHeader("content-type", "text/html");
    answer.setHeader("content-security-policy", "default-src 'self'; connect-src http://localhost:3001");
    answer.write(`<!doctype html><head><link rel=stylesheet href="http://localhost:${port}/a.css"><scr`);
    answer.end(`ipt type=module src="http://[::1]:3001/@vite/client"></script></head><a href="http://localhost:3001/">`);
  },
  "/echo": (request, answer) =>
    answer.end(JSON.stringify({ method: request.method, url: request.url, version: request.httpVersion, headers: request.headers })),
  "/upload": (request, answer) => {
    const hash = crypto.createHash("sha256");
    let bytes = 0;
    request.on("data", (chunk) => hash.update(chunk) && (bytes += chunk.length));
    request.on("end", () => answer.end(JSON.stringify({ bytes, sha256: hash.digest("hex") })));
  },
  "/download": (request, answer) => {
    let left = Number(new URL(request.url, "http://x").searchParams.get("bytes"));
    const chunk = Buffer.alloc(64 * 1024, 7);
    const number = written.push(0) - 1;
    const more = () => {
      while (left > 0) {
        const part = chunk.subarray(0, Math.min(left, chunk.length));
        left -= part.length;
        written[number] += part.length;
        tell();
        if (!answer.write(part)) return answer.once("drain", more);
      }
      answer.end();
    };
    more();
  },
  // Answers when so many downloads have written so much each.
  "/written": (request, answer) => {
    const wanted = new URL(request.url, "http://x").searchParams;
    const look = () => {
      const enough = written.filter((bytes) => bytes >= Number(wanted.get("bytes"))).length;
      if (enough >= Number(wanted.get("downloads")) && waiting.delete(look)) answer.end();
    };
    waiting.add(look);
    tell();
  },
  // Closes every connection, and answers on its own when it is the last one.
  "/hang-up-on-all": (_, answer) => {
    answer.setHeader("connection", "close");
    server.closeIdleConnections();
    const look = () => server.getConnections((_, open) => (open > 1 ? setImmediate(look) : answer.end()));
    look();
  },
  "/events": (request, answer) => {
    answer.setHeader("content-type", "text/event-stream");
    answer.flushHeaders();
    let count = 0;
    const send = () => answer.write(`data: ${++count}\n\n`);
    readers.add(send);
    request.on("close", () => readers.delete(send));
  },
  "/send": (_, answer) => {
    for (const send of readers) send();
    answer.end();
  },
  "/redirect": (request, answer) => {
    const to = new URL(request.url, "http://x").searchParams.get("to");
    answer.writeHead(302, { location: to }).end();
  },
  "/cookies": (_, answer) => {
    answer.setHeader("set-cookie", ["app=1; Domain=localhost; Path=/", "mistle-preview=stolen; Path=/", "two=2; HttpOnly"]);
    answer.end();
  },
  "/hangup": (request) => request.socket.destroy(),
};

const server = http.createServer((request, answer) => {
  const page = pages[request.url.split("?")[0]];
  if (page) page(request, answer);
  else answer.writeHead(404).end();
});

// A WebSocket that says every short text back, after what was asked of it.
server.on("upgrade", (request, socket, head) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const accept = crypto.createHash("sha1").update(key).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  const say = (text) => socket.write(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
  say(`${request.headers.host} ${request.headers.origin}`);
  let buffer = head;
  const read = () => {
    while (buffer.length >= 6 && buffer.length >= 6 + (buffer[1] & 127)) {
      const length = buffer[1] & 127;
      const [opcode, mask, text] = [buffer[0] & 15, buffer.subarray(2, 6), Buffer.from(buffer.subarray(6, 6 + length))];
      text.forEach((byte, at) => (text[at] = byte ^ mask[at % 4]));
      buffer = buffer.subarray(6 + length);
      if (opcode === 8) return socket.end(Buffer.from([0x88, 0]));
      if (opcode === 1) say(`heard ${text}`);
    }
  };
  socket.on("data", (data) => ((buffer = Buffer.concat([buffer, data])), read()));
  socket.on("error", () => {});
  read();
});

server.listen(port, process.argv[2] ?? "127.0.0.1", () => console.log("listens"));
