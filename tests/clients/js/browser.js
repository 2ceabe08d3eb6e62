// The person with the browser, see ../user_agent.py.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const program = process.env.USER_AGENT

async function userAgent(...parameters) {
  try {
    const { stdout } = await promisify(execFile)(process.env.PYTHON ?? 'python3', [program, ...parameters])
    return stdout.trim()
  } catch (error) {
    throw new Error(`the user agent: ${error.stderr.trim().split('\n').at(-1)}`)
  }
}

export const authorize = async (url) => new URL(await userAgent('authorize', url.href))
export const approveDevice = (uri, code) => userAgent('device', uri, code)
