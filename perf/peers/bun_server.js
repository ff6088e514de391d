// A peer: Bun's own WebSocket and HTTP server (uWebSockets inside). Each path echoes; /sub subscribes and what arrives
// on /pub is published natively. Configured for speed: no compression, no time-outs, limits out of the way. The small
// reply comes from the fetch handler (/fetch), as ours comes from a handler, and as a static route (/hello), whose
// bytes Bun has ready and for which no JavaScript runs.
//
//   bun bun_server.js PORT [deflate]       (0 picks a free one; prints "listening PORT")
// Each message compressed on its own, by what the connections share: Bun's default.
const deflates = process.argv[3] === 'deflate';
const subscribers = 'subscribers';

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2] ?? 0),
  idleTimeout: 0,
  development: false,
  static: { '/hello': new Response('hello\n') },
  fetch(request, server) {
    const path = request.url.slice(request.url.lastIndexOf('/'));
    if (path === '/fetch') return new Response('hello\n');
    if (server.upgrade(request, { data: path })) return undefined;
    return new Response('a WebSocket is wanted\n', { status: 426 });
  },
  websocket: {
    perMessageDeflate: deflates,
    idleTimeout: 0,
    sendPings: false,
    maxPayloadLength: 64 << 20,
    backpressureLimit: 1 << 30,
    open(socket) {
      if (socket.data === '/sub') socket.subscribe(subscribers);
    },
    message(socket, message) {
      if (socket.data === '/pub') server.publish(subscribers, message);
      else socket.send(message, deflates);
    },
  },
});
console.log(`listening ${server.port}`);
