// The apps of apps/, brought into a session and started there as a person would.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Locator, Page } from '@playwright/test'
import { expect, type Server } from './server.ts'

export type AppName = 'vite' | 'next' | 'storybook' | 'fastapi'

const COPIED_WITHIN_MS = 180_000
/** A server compiles its first page before that page connects. */
const TOLD_WITHIN_MS = 120_000
const apps = resolve(import.meta.dirname, 'apps')

/** Where apps are in the sandbox. */
export const HOME = '/workspace'

/** Copies an app with its packages into a session's sandbox. */
export async function bring(server: Server, session: string, app: AppName) {
  const packages = join(apps, app, app === 'fastapi' ? 'site' : 'node_modules')
  if (!existsSync(packages)) throw new Error(`${packages} is missing: \`cargo xtask test browser\` installs it`)
  const pack = spawn('tar', ['--create', '--exclude=.next', '--exclude=.cache', app], {
    cwd: apps,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const unpack = server.spawnCli(
    ['session', 'exec', session, '--cwd', HOME, '--', 'tar', '--extract', '--no-same-owner'],
    pack.stdout,
  )
  // Only a hang ends here: it is told by its name, and not as the time of the whole test.
  const signal = AbortSignal.timeout(COPIED_WITHIN_MS)
  const [code] = await once(unpack, 'exit', { signal }).catch((error) => {
    throw signal.aborted ? new Error(`copying ${app} into the sandbox takes minutes`) : error
  })
  expect(code, `copying ${app} into the sandbox`).toBe(0)
}

/** A file of an app, as it is before anybody edits it. */
export function source(app: AppName, file: string) {
  return readFileSync(join(apps, app, file), 'utf8')
}

/** Writes a file in the sandbox as an editor does: whole, because a development server that reads an empty one says so. */
export function write(server: Server, session: string, path: string, content: string) {
  const script = 'printf %s "$1" > "$2.new" && mv "$2.new" "$2"'
  server.cli('session', 'exec', session, '--', 'sh', '-c', script, 'write', content, path)
}

/** Runs a command in a terminal of its own, whose screen it gives. */
export async function run(page: Page, command: string): Promise<Locator> {
  await page.keyboard.press('Control+Shift+Backquote')
  const panel = page.getByRole('tabpanel')
  await expect(panel.locator('.xterm-rows')).toContainText('demo')
  await panel.locator('.xterm-helper-textarea').focus()
  await page.keyboard.type(`clear; ${command}\n`)
  return panel.locator('.xterm-rows')
}

/**
 * Waits until the page is told of changes by its development server, which tells only those who are connected
 * by then. To be called as soon as there is the page; `url` tells one of its WebSockets from the others.
 */
export async function isTold(app: Page, url: RegExp, word: string) {
  const socket = await app.waitForEvent('websocket', {
    predicate: (socket) => url.test(socket.url()),
    timeout: TOLD_WITHIN_MS,
  })
  await socket.waitForEvent('framereceived', { predicate: ({ payload }) => payload.includes(word), timeout: TOLD_WITHIN_MS })
}

export function processes(page: Page) {
  return page.getByRole('button', { name: /^Processes/ })
}

/** Opens what listens on a port as a person does: Processes, and the link that names it. */
export async function openPort(page: Page, port: number): Promise<Page> {
  const list = await processList(page)
  const link = list.getByRole('link', { name: new RegExp(`on port ${port} in a new tab`) })
  const opened = page.context().waitForEvent('page')
  await link.click()
  return opened
}

/** The list of what listens, opened. */
export async function processList(page: Page) {
  const list = page.getByRole('dialog', { name: 'Processes' })
  if (!(await list.isVisible())) await processes(page).click()
  await expect(list).toBeVisible()
  return list
}
