// An OpenID Connect provider with strict rotation: a refresh token that is used twice ends all tokens
// of its grant. In memory; beside it a platform that takes the provider's own access tokens.
//
// The environment says REDIRECT_URIS, separated by commas, and CLIENT_SECRET. For tests alone:
//   POST /_mint?sub=     a grant of an account, as if its owner had consented; answers its refresh token
//   POST /_expire?sub=   ends the account's access tokens, and no refresh token
//   POST /_slow?ms=      from now on the token endpoint answers so much later
//   GET  /_counts        by account: requests to the token endpoint, and how they were answered
//   GET  /_posts         what was posted
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import Provider from 'oidc-provider'

const SCOPE = 'openid profile offline_access publish'
const CLIENT = 'postworks'

const server = createServer()
await new Promise((ready) => server.listen(0, '127.0.0.1', ready))
const issuer = `http://127.0.0.1:${server.address().port}`

const client = (client_id, token_endpoint_auth_method) => ({
  client_id,
  token_endpoint_auth_method,
  ...(token_endpoint_auth_method === 'none' ? {} : { client_secret: process.env.CLIENT_SECRET }),
  redirect_uris: process.env.REDIRECT_URIS.split(','),
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
})

const provider = new Provider(issuer, {
  clients: [
    client(CLIENT, 'client_secret_basic'),
    client(`${CLIENT}-post`, 'client_secret_post'),
    client(`${CLIENT}-public`, 'none'),
  ],
  scopes: ['openid', 'profile', 'offline_access', 'publish'],
  claims: { openid: ['sub'], profile: ['preferred_username'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, preferred_username: `${id}.example` }),
  }),
  rotateRefreshToken: true,
  issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
  expiresWithSession: async () => false,
  cookies: { keys: ['no secret protects anything here'] },
  ttl: { AccessToken: 3600, AuthorizationCode: 60, Grant: 86400, IdToken: 3600, Interaction: 3600, RefreshToken: 86400, Session: 86400 },
  features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
})

// Tokens get a form by which a search finds them wherever they should not be.
for (const kind of [provider.AccessToken, provider.RefreshToken, provider.AuthorizationCode]) {
  const { generateTokenId } = kind.prototype
  kind.prototype.generateTokenId = function () {
    return `oidc_tk_${generateTokenId.call(this)}`
  }
}

// An opaque token's value is its id.
const ownerOf = new Map()
const accessTokensOf = new Map()
provider.on('refresh_token.saved', (token) => ownerOf.set(token.jti, token.accountId))
provider.on('access_token.saved', (token) => {
  accessTokensOf.set(token.accountId, [...(accessTokensOf.get(token.accountId) ?? []), token.jti])
})

const counts = {}
const countsOf = (account) => (counts[account] ??= { token_requests: 0, granted: 0, refused: {} })
const asker = (ctx) =>
  ownerOf.get(ctx.oidc?.params?.refresh_token) ?? ctx.oidc?.entities?.Account?.accountId ?? 'unknown'
provider.on('grant.success', (ctx) => {
  const of = countsOf(asker(ctx))
  of.token_requests += 1
  of.granted += 1
})
provider.on('grant.error', (ctx, error) => {
  const of = countsOf(asker(ctx))
  of.token_requests += 1
  of.refused[error.error] = (of.refused[error.error] ?? 0) + 1
})

async function mint(account) {
  const known = await provider.Client.find(CLIENT)
  const grant = new provider.Grant({ accountId: account, clientId: CLIENT })
  grant.addOIDCScope(SCOPE)
  const grantId = await grant.save()
  const token = new provider.RefreshToken({
    accountId: account,
    authTime: Math.floor(Date.now() / 1000),
    client: known,
    clientId: CLIENT,
    grantId,
    gty: 'authorization_code',
    scope: SCOPE,
  })
  return { refresh_token: await token.save() }
}

async function expire(account) {
  const tokens = accessTokensOf.get(account) ?? []
  accessTokensOf.delete(account)
  for (const id of tokens) await (await provider.AccessToken.find(id))?.destroy()
  return { expired: tokens.length }
}

let late = 0
const pause = (ms) => new Promise((resume) => setTimeout(resume, ms))

const posts = []

async function bodyOf(ctx) {
  const chunks = []
  for await (const chunk of ctx.req) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString())
}

async function platform(ctx) {
  const [scheme, value] = ctx.get('authorization').split(' ')
  const token = scheme === 'Bearer' && (await provider.AccessToken.find(value))
  if (!token || !token.scopes.has('publish')) {
    ctx.status = 401
    ctx.body = { error: 'invalid_token' }
    return
  }
  const mine = posts.filter((post) => post.account === token.accountId)
  if (ctx.method === 'GET') {
    const ref = ctx.query.client_ref
    ctx.body = { items: mine.filter((post) => !ref || post.client_ref === ref).reverse(), next: null }
    return
  }
  const { text, client_ref = null } = await bodyOf(ctx)
  const key = ctx.get('idempotency-key') || null
  const before = key && mine.find((post) => post.key === key)
  const post = before || { id: randomUUID(), account: token.accountId, text, client_ref, key, created_at: new Date().toISOString() }
  if (!before) posts.push(post)
  ctx.status = 201
  ctx.body = { id: post.id }
}

const routes = {
  '/_mint': async (ctx) => { ctx.body = await mint(ctx.query.sub) },
  '/_expire': async (ctx) => { ctx.body = await expire(ctx.query.sub) },
  '/_slow': async (ctx) => { ctx.body = { ms: (late = Number(ctx.query.ms)) } },
  '/token': async (_, next) => { await pause(late); await next() },
  '/_counts': async (ctx) => { ctx.body = counts },
  '/_posts': async (ctx) => { ctx.body = posts },
  '/posts': platform,
}
provider.use((ctx, next) => (routes[ctx.path] ? routes[ctx.path](ctx, next) : next()))

server.on('request', provider.callback())
console.log(`listening ${issuer}`)

// The test holds our standard input open. When it goes, however it goes, so do we.
process.stdin.on('end', () => process.exit(0)).resume()
