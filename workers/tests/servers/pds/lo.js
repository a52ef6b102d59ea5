// Preloaded (node -r ./lo.js): servers that name no host listen on loopback, not on every interface.
const net = require('net')

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  return typeof port === 'number'
    ? listen.call(this, port, '127.0.0.1', ...rest)
    : listen.call(this, port, ...rest)
}

// The test holds our standard input open. When it goes, however it goes, so do we.
process.stdin.on('end', () => process.exit(0)).resume()
