// Writes dashboards/*.json. With --check it writes nothing, and fails if a file is not what it
// would write.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import api from './api.mjs'
import capacity from './capacity.mjs'
import deadLetters from './dead_letters.mjs'
import platforms from './platforms.mjs'
import queues from './queues.mjs'
import stores from './stores.mjs'

const FOLDER = fileURLToPath(new URL('../../dashboards/', import.meta.url))
const files = new Map(
  [deadLetters, queues, platforms, api, stores, capacity].map((dashboard) => [
    `${dashboard.uid.replace('postworks-', '')}.json`,
    `${JSON.stringify(dashboard, null, 2)}\n`,
  ]),
)

const check = process.argv.includes('--check')
const faults = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.json') && !files.has(name))
  .map((name) => `${name} has no source`)
for (const [name, text] of files) {
  if (!check) writeFileSync(FOLDER + name, text)
  else if (readFileSync(FOLDER + name, 'utf8') !== text) faults.push(`${name} is not what its source says`)
}
if (faults.length > 0) {
  console.error(`${faults.join('\n')}\nrun: node config/dashboards/build.mjs`)
  process.exit(1)
}
