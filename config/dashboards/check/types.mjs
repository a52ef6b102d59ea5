// Compiles every dashboard as a value of Grafana's type; what does not fit is an error of tsc.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const DASHBOARDS = fileURLToPath(new URL('../../../dashboards/', import.meta.url))
const out = `${HERE}.checked-${process.pid}`
const names = process.argv.length > 2
  ? process.argv.slice(2)
  : readdirSync(DASHBOARDS).filter((name) => name.endsWith('.json')).map((name) => DASHBOARDS + name)

mkdirSync(out)
try {
  for (const [n, name] of names.entries()) {
    const json = readFileSync(name, 'utf8')
    writeFileSync(`${out}/${n}.ts`, `import type { Checked } from '../grafana.js'\nexport const dashboard: Checked = ${json}`)
  }
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--moduleResolution', 'nodenext']
  const files = names.map((_, n) => `${out}/${n}.ts`)
  execFileSync(`${HERE}node_modules/.bin/tsc`, [...options, ...files], { stdio: 'inherit' })
  console.log(`${names.length} dashboards fit Grafana's types`)
} catch (error) {
  console.error(error.status === undefined ? error.message : `in ${names.join(', ')}`)
  process.exitCode = 1
} finally {
  rmSync(out, { recursive: true })
}
