// A real server in a process of its own, on a data directory of its own.

import { test as base, expect, type Page } from '@playwright/test'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'

const root = resolve(import.meta.dirname, '..')

export type Setup = {
  /** When the agent asks. */
  policy?: 'ask_every_time' | 'ask_when_risky' | 'autonomous'
  /** Added to the configuration file. */
  config?: string
  /** Called before the first start; answers what undoes it. */
  prepare?: (dataDir: string) => () => void
}

export class Server {
  url = ''
  loginLink = ''
  readonly dataDir = mkdtempSync(join(tmpdir(), 'mst'))
  /** A folder for what a test needs outside of the data directory. */
  readonly outside = mkdtempSync(join(tmpdir(), 'mst-outside'))
  private child?: ChildProcess

  constructor(private readonly setup: Setup) {}

  async configure() {
    const port = await freePort()
    this.url = `http://127.0.0.1:${port}`
    this.writeConfig(this.setup.config ?? '')
  }

  /** Replaces everything in the configuration but the address and the runtime's place. */
  writeConfig(config: string) {
    const policy = this.setup.policy ?? 'ask_every_time'
    const profile = config.includes('[[profiles]]')
      ? ''
      : `
[providers.demo]
kind = "scripted"
[[profiles]]
name = "default"
provider = "demo"
model = "gpt-5.5"
approval_policy = "${policy}"
repositories = [{ source = "${this.dataDir}/demo" }]
`
    writeFileSync(
      join(this.dataDir, 'mistle.toml'),
      `listen = "${this.url.replace('http://', '')}"
${config}
${profile}
[runtimes.codex]
path = "${root}/data/runtimes/codex/0.169.0"
`,
    )
  }

  async start() {
    const log = openSync(join(this.dataDir, 'test-server.log'), 'a')
    const child = spawn(join(root, 'target/debug/mistle'), ['serve'], {
      env: { ...process.env, MISTLE_DATA_DIR: this.dataDir },
      stdio: ['ignore', 'pipe', log],
    })
    this.child = child
    const lines = createInterface({ input: child.stdout! })
    for await (const line of lines) {
      const link = line.match(/\S+\/login\?code=\S+/)?.[0]
      if (!link) continue
      this.loginLink = link
      child.stdout!.resume()
      return
    }
    throw new Error(`the server ended before it printed a login link:\n${this.log()}`)
  }

  /** Signal 9: nothing is flushed and nobody is told. */
  async kill() {
    const child = this.child!
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  log() {
    return readFileSync(join(this.dataDir, 'test-server.log'), 'utf8').slice(-4000)
  }

  /** Runs the CLI against this server. */
  cli(...args: string[]) {
    return execFileSync(join(root, 'target/debug/mistle'), args, {
      env: { ...process.env, MISTLE_DATA_DIR: this.dataDir, MISTLE_URL: this.url },
      encoding: 'utf8',
    })
  }

  /** The CLI, while it runs; it reads `input`. */
  spawnCli(args: string[], input: Readable) {
    const child = spawn(join(root, 'target/debug/mistle'), args, {
      env: { ...process.env, MISTLE_DATA_DIR: this.dataDir, MISTLE_URL: this.url },
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    input.pipe(child.stdin)
    return child
  }

  /** The API, with the operator's token. */
  async api<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    const token = readFileSync(join(this.dataDir, 'cli-token'), 'utf8').trim()
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body ? { 'content-type': 'application/json' } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return (text ? JSON.parse(text) : undefined) as T
  }

  /** Ends all sandboxes at once, as a machine without memory might. */
  killSandboxes() {
    for (const pid of childrenOf(processesNaming(this.dataDir))) process.kill(pid, 'SIGKILL')
  }

  /** Kills the server and every sandbox that it leaves behind. */
  async end(undo?: () => void) {
    await this.kill()
    // A sandbox that is just being started forks while one looks, so one looks until there is nothing.
    for (let shims = processesNaming(this.dataDir); shims.length > 0; shims = processesNaming(this.dataDir)) {
      for (const pid of [...childrenOf(shims), ...shims]) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          // It ended by itself.
        }
      }
      await setTimeout(10)
    }
    undo?.()
    // Seconds on a disk that discards what is deleted; nobody waits for it.
    spawn('rm', ['-rf', this.dataDir, this.outside], { detached: true, stdio: 'ignore' }).unref()
  }

  /** A git repository of these files. */
  repository(name: string, files: Record<string, string>) {
    // Not in the data directory: that one is never offered to a sandbox.
    const folder = join(this.outside, name)
    for (const [file, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, file)), { recursive: true })
      writeFileSync(join(folder, file), content)
    }
    const git = (...args: string[]) => execFileSync('git', ['-C', folder, ...args])
    git('init', '--quiet', '--initial-branch=main')
    git('add', '--all')
    git('-c', 'user.name=Test', '-c', 'user.email=test@example.org', 'commit', '--quiet', '--message=Begin')
    return folder
  }
}

// Ports for servers, below those that the kernel hands out: one of these would be given to somebody's connection
// while its server is away. Workers begin far from each other.
const PORTS = { from: 30_000, count: 2_000 }
let tried = process.pid * 61

async function freePort(): Promise<number> {
  const port = PORTS.from + (tried++ % PORTS.count)
  const probe = createServer().listen(port, '127.0.0.1')
  const free = await once(probe, 'listening').then(
    () => true,
    () => false,
  )
  if (!free) return freePort()
  probe.close()
  await once(probe, 'close')
  return port
}

function processesNaming(folder: string) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder)
      } catch {
        return false
      }
    })
    .map(Number)
}

/** PID 1 of each sandbox: killing it ends everything in it. */
function childrenOf(parents: number[]) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const parent = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^PPid:\t(\d+)$/m)?.[1]
        return parents.includes(Number(parent))
      } catch {
        return false
      }
    })
}

type Fixtures = { setup: Setup; server: Server; signedIn: Page; alone: void }

export const test = base.extend<Fixtures>({
  setup: [{}, { option: true }],
  server: async ({ setup }, use, info) => {
    const server = new Server(setup)
    await server.configure()
    const undo = setup.prepare?.(server.dataDir)
    await server.start()
    await use(server)
    if (info.status !== info.expectedStatus) {
      await info.attach('server log', { body: server.log(), contentType: 'text/plain' })
      console.log(server.log())
    }
    await server.end(undo)
  },
  /** Other browsers of a test end with it: their pages would look for its server as long as the worker lives. */
  alone: [
    async ({ browser, context }, use) => {
      await use()
      for (const other of browser.contexts()) if (other !== context) await other.close()
    },
    { auto: true },
  ],
  /** A page of a signed-in person. */
  signedIn: async ({ page, server }, use) => {
    await page.goto(server.loginLink)
    await expect(page).toHaveURL(/\/(new)?$/)
    await use(page)
  },
})

export { expect }
