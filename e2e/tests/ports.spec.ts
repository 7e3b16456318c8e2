// What listens in a sandbox: found by itself, opened on an origin of its own, gone when it ends.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { newSession } from '../session.ts'
import { expect, test } from '../server.ts'

const READY = { name: 'Status: Ready' }

async function terminal(page: Page, text: string) {
  await expect(page.getByRole('tabpanel').locator('.xterm-rows')).toContainText('demo')
  await page.getByRole('tabpanel').locator('.xterm-helper-textarea').focus()
  await page.keyboard.type(text)
}

async function accessible(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
}

function processes(page: Page) {
  return page.getByRole('button', { name: /^Processes/ })
}

test('a server appears, opens on its own origin, and disappears', async ({ signedIn: page, server, context }) => {
  const id = await newSession(page, 'say: hello')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await processes(page).click()
  const list = page.getByRole('dialog', { name: 'Processes' })
  await expect(list).toContainText('Nothing listens.')
  await list.getByRole('button', { name: 'New terminal' }).click()
  await terminal(page, 'mkdir /tmp/site; cd /tmp/site; echo "<h1>From the sandbox</h1>" > index.html; python3 -m http.server 8000\n')
  await expect(page.getByRole('tabpanel')).toContainText('Serving HTTP')
  await expect(processes(page)).toContainText('1')

  await processes(page).click()
  await expect(list).toContainText('python3')
  await expect(list).toContainText('python3 -m http.server 8000')
  await expect(list).toContainText(/pid \d+/)
  await accessible(page)
  // Enter would open it: it has the keyboard.
  await expect(list.getByRole('link')).toBeFocused()

  const opened = context.waitForEvent('page')
  await list.getByRole('link', { name: 'Open python3 on port 8000 in a new tab' }).click()
  const preview = await opened
  await expect(preview.getByRole('heading', { name: 'From the sandbox' })).toBeVisible()
  expect(new URL(preview.url()).origin).not.toBe(new URL(server.url).origin)
  // It has neither this page's cookies nor a way to it.
  expect(await preview.evaluate(() => [window.opener, document.cookie])).toEqual([null, ''])

  // The address that is copied is one to keep: it leads there again.
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.bringToFront()
  await list.getByRole('button', { name: 'Copy URL of port 8000' }).click()
  const copied = await page.evaluate(() => navigator.clipboard.readText())
  expect(copied).toBe(`${server.url}/open/${id}/8000`)
  await preview.goto(copied)
  await expect(preview.getByRole('heading', { name: 'From the sandbox' })).toBeVisible()

  // Ended from elsewhere, it is gone.
  server.cli('session', 'exec', id, '--', 'sh', '-c', 'kill $(pgrep -x python3)')
  await expect(list).toContainText('Nothing listens.')
  await expect(processes(page)).toHaveText('Processes')
})

test('a stopped sandbox says so, and is started from there', async ({ signedIn: page }) => {
  test.slow()
  await newSession(page, 'say: hello')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await page.keyboard.press('Control+j')
  await terminal(page, 'python3 -m http.server 8000\n')
  await expect(processes(page)).toContainText('1')
  await page.getByRole('button', { name: 'Session menu' }).click()
  await page.getByRole('menuitem', { name: 'Stop' }).click()
  await expect(page.getByRole('button', { name: 'Status: Stopped' })).toBeVisible()
  await expect(processes(page)).toHaveText('Processes')
  await processes(page).click()
  const list = page.getByRole('dialog', { name: 'Processes' })
  await expect(list).toContainText('The sandbox does not run')
  await list.getByRole('button', { name: 'Start' }).click()
  await expect(list).toContainText('Nothing listens.')
})

test('on a phone, ports are a pane of their own', async ({ signedIn: page, server }) => {
  const id = await newSession(page, 'say: hello')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await page.setViewportSize({ width: 390, height: 844 })
  const panes = page.getByRole('navigation', { name: 'Panes' })
  await panes.getByRole('button', { name: 'Ports' }).click()
  const ports = page.getByRole('main', { name: 'Ports' })
  await expect(ports).toContainText('Nothing listens.')
  server.cli('session', 'exec', id, '--', 'sh', '-c', 'setsid python3 -m http.server 8080 >/dev/null 2>&1 &')
  await expect(panes.getByRole('button', { name: 'Ports 1' })).toBeVisible()
  await expect(ports.getByRole('listitem')).toContainText('8080')
  await accessible(page)
})
