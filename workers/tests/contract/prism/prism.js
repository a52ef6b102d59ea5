// Checks requests against the OpenAPI document that DOCUMENT names, and answers what the document says
// an answer looks like: 422 to a request that breaks it, 401 to one without a token.
const { createLogger } = require('@stoplight/prism-core')
const { getHttpOperationsFromSpec } = require('@stoplight/prism-http')
const { createServer } = require('@stoplight/prism-http-server')

async function main() {
  const operations = await getHttpOperationsFromSpec(process.env.DOCUMENT)
  const server = createServer(operations, {
    cors: false,
    config: {
      isProxy: false,
      validateRequest: true,
      // The answers are Prism's own: patterns are beyond them.
      validateResponse: false,
      checkSecurity: true,
      // A request that breaks the document is refused, whatever could be answered to it.
      errors: true,
      mock: { dynamic: false },
    },
    components: { logger: createLogger('prism', { level: 'silent' }) },
  })
  const address = await server.listen(0, '127.0.0.1')
  console.log(`listening ${address}`)
}

// Whoever started this is gone.
process.stdin.on('end', () => process.exit(0)).resume()
main()
