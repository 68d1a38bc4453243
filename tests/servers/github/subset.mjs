// Cuts the paths that are asked for out of GitHub's API description, with everything that they refer to: Prism starts on a few
// of a thousand paths in a second. Usage: node subset.mjs DESCRIPTION PATHS > SUBSET
import { readFileSync } from 'node:fs'

const [description, paths] = process.argv.slice(2)
const whole = JSON.parse(readFileSync(description, 'utf8'))
const wanted = readFileSync(paths, 'utf8').split('\n').map((line) => line.trim()).filter((line) => line && !line.startsWith('#'))

const subset = { openapi: whole.openapi, info: whole.info, servers: whole.servers, paths: {}, components: {} }
const queue = []

function look(value) {
  if (Array.isArray(value)) return value.forEach(look)
  if (value === null || typeof value !== 'object') return
  if (typeof value.$ref === 'string') queue.push(value.$ref)
  Object.values(value).forEach(look)
}

for (const path of wanted) {
  if (!whole.paths[path]) throw new Error(`the description has no path ${path}`)
  subset.paths[path] = whole.paths[path]
  look(whole.paths[path])
}
while (queue.length) {
  const [hash, top, kind, name] = queue.pop().split('/')
  if (hash !== '#' || top !== 'components') throw new Error(`a reference out of the description: ${kind}/${name}`)
  subset.components[kind] ??= {}
  if (subset.components[kind][name]) continue
  subset.components[kind][name] = whole.components[kind][name]
  look(whole.components[kind][name])
}
process.stdout.write(JSON.stringify(subset))
