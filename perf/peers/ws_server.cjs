// A peer: the npm package ws on Node's HTTP server. Each path echoes; what arrives on /pub goes to all of /sub.
// Configured for speed: no compression, no client tracking, TCP_NODELAY (the package's default).
//
//   node ws_server.cjs NODE_MODULES PORT       (port 0 picks a free one; prints "listening PORT")
const http = require('node:http');
const path = require('node:path');

const { WebSocketServer } = require(path.resolve(process.argv[2], 'ws'));
const subscribers = new Set();

const server = http.createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 6 });
  response.end('hello\n');
});
server.keepAliveTimeout = 0;
server.requestTimeout = 0;

const sockets = new WebSocketServer({ server, perMessageDeflate: false, clientTracking: false, maxPayload: 64 << 20 });
sockets.on('connection', (socket, request) => {
  socket.on('error', () => socket.terminate());
  if (request.url === '/sub') {
    subscribers.add(socket);
    socket.on('close', () => subscribers.delete(socket));
  } else if (request.url === '/pub') {
    socket.on('message', publish);
  } else {
    socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }));
  }
});

function publish(message, isBinary) {
  for (const socket of subscribers) socket.send(message, { binary: isBinary });
}

server.listen(Number(process.argv[3] ?? 0), '127.0.0.1', 4096, () => console.log(`listening ${server.address().port}`));
