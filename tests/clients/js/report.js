// Prints one line a call, for run.py to count: `STATUS library version call: detail`, separated by tabs.
import { readFileSync } from 'node:fs'

export function reporter(library) {
  const manifest = new URL(`./node_modules/${library}/package.json`, import.meta.url)
  const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
  return async (call, isOffered, run) => {
    let status = 'ok'
    let detail = ''
    if (isOffered) {
      try {
        detail = (await run()) ?? ''
      } catch (error) {
        status = 'FAILED'
        detail = describe(error)
      }
    } else {
      status = 'missing'
      detail = 'not offered by this server'
    }
    console.log([status, library, version, call, detail].join('\t'))
  }
}

function describe(error) {
  const parts = []
  for (let e = error; e; e = e.cause instanceof Error ? e.cause : undefined) parts.push(`${e.name}: ${e.message}`)
  if (error.error) parts.push(`${error.error}: ${error.error_description}`)
  return parts.join(' <- ').replaceAll(/\s+/g, ' ')
}

export function check(holds, what) {
  if (!holds) throw new Error(`it does not hold that ${what}`)
}
