// The page on which a session is begun.

import type { Page } from '@playwright/test'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { said, sessionId, status } from '../session.ts'
import { expect, type Server, test } from '../server.ts'

test.use({ setup: { policy: 'autonomous' } })

const task = (page: Page) => page.getByRole('textbox', { name: /task/i })
const repository = (page: Page, name = 'Repository') => page.getByRole('combobox', { name, exact: true })

/** Every sandbox that the server has. */
const sandboxes = (server: Server) => readdirSync(join(server.dataDir, 'embedded/sandboxes'))

/** An id begins with its time: RFC 9562, version 7. */
const bornAt = (id: string) => Number.parseInt(id.replace('ses_', '').slice(0, 12), 16)

async function typed(page: Page, text: string) {
  const prepared = page.waitForResponse((response) => response.url().endsWith('/sessions/warm'))
  await task(page).pressSequentially(text)
  expect((await prepared).status()).toBe(200)
}

test('what was chosen is there after a reload', async ({ signedIn: page, server }) => {
  const [api, site] = ['api', 'page'].map((name) => server.repository(name, { 'README.md': `${name}\n` }))
  await page.goto(`${server.url}/new`)
  await repository(page).fill(api!)
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Add repository' }).click()
  await repository(page, 'Repository 2').fill(site!)
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Add folder' }).click()
  await page.getByRole('textbox', { name: 'Folder name 3' }).fill('notes')
  await task(page).fill('run: ls /workspace')
  await page.reload()
  await expect(repository(page)).toHaveValue(api!)
  await expect(repository(page, 'Repository 2')).toHaveValue(site!)
  await expect(page.getByRole('textbox', { name: 'Folder name 3' })).toHaveValue('notes')
  await expect(task(page)).toHaveValue('run: ls /workspace')
  await task(page).press('Enter')
  await expect(said(page, /api\s+notes\s+page/)).toBeVisible()
})

test('typing the task prepares the session that it starts', async ({ signedIn: page, server }) => {
  const [first, second] = ['first', 'second'].map((name) => server.repository(name, { 'README.md': `${name}\n` }))
  await page.goto(`${server.url}/new`)
  await repository(page).fill(first!)
  await page.keyboard.press('Escape')
  await typed(page, 'run:')
  await expect.poll(() => sandboxes(server)).toHaveLength(1)
  const [dismissed] = sandboxes(server)
  // Another choice prepares another one, in place of the first.
  const prepared = page.waitForResponse((response) => response.url().endsWith('/sessions/warm'))
  await repository(page).fill(second!)
  await page.keyboard.press('Escape')
  await prepared
  await expect.poll(() => sandboxes(server).filter((id) => id !== dismissed)).toHaveLength(1)
  await expect.poll(() => sandboxes(server)).not.toContain(dismissed)
  // It is no session of anybody yet.
  expect(await server.api('GET', '/sessions')).toMatchObject({ data: [] })

  await task(page).pressSequentially(' pwd')
  const asked = Date.now()
  await task(page).press('Enter')
  await expect(page).toHaveURL(/\/s\/ses_/)
  await expect(said(page, '/workspace/second')).toBeVisible()
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  // A pause in a choice may prepare more than one; the one that is left was there before it was asked for.
  const started = sessionId(page)
  expect(sandboxes(server)).toEqual([started])
  expect(bornAt(started)).toBeLessThan(asked)
  expect(await server.api('GET', '/sessions')).toMatchObject({ data: [{ title: 'run: pwd' }] })
})
