// Around the workbench: links, signing in, two people at once, being called.

import type { Locator, Page } from '@playwright/test'
import { changedFile, changes, compare, opened } from '../changes.ts'
import { approval, newSession, said, sessionId, status } from '../session.ts'
import { expect, test } from '../server.ts'

const terminal = (page: Page) => page.getByRole('region', { name: 'Terminal', exact: true })

test('a link shows what its sender saw, also to whoever has to sign in first', async ({
  signedIn: page,
  server,
  browser,
}) => {
  const lines = Array.from({ length: 60 }, (_, n) => `line ${n}\n`).join('')
  const repository = server.repository('notes', { 'a.txt': 'one\n', 'b.txt': 'two\n', 'c.txt': 'three\n' })
  await newSession(page, 'say: Hello', repository)
  const id = sessionId(page)
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  const shell = (script: string, ...words: string[]) =>
    server.cli('session', 'exec', id, '--', 'sh', '-ec', script, 'shell', ...words)
  shell('echo kept >> c.txt; git -c user.name=T -c user.email=t@example.org commit -qam Kept')
  shell('printf %s "$1" | tee -a a.txt b.txt', lines)

  // The second of two files, in another scope and another view than one gets by itself.
  await opened(page)
  await compare(page, 'Uncommitted')
  await changes(page).getByRole('button', { name: 'Show side by side' }).click()
  await changes(page).getByRole('navigation', { name: 'Changed files' }).getByTitle('b.txt').click()
  await page.getByRole('button', { name: 'Terminal', exact: true }).click()
  await expect(page).toHaveURL(/panel=changes,terminal/)
  await expect(terminal(page).getByRole('tab')).toHaveCount(1)
  await page.getByRole('button', { name: 'New terminal' }).first().click()
  await expect(terminal(page).getByRole('tab')).toHaveCount(2)
  for (const part of [/file=b\.txt/, /scope=uncommitted/, /view=split/]) await expect(page).toHaveURL(part)
  await expect(page).toHaveURL(/terminal=trm_/)
  const link = page.url()

  const other = await (await browser.newContext()).newPage()
  await other.goto(link)
  await expect(other.getByRole('heading', { name: 'Sign in to Mistle' })).toBeVisible()
  await other.goto(server.cli('login-link').trim())
  await expect(other).toHaveURL(link)
  await expect(changes(other).getByRole('button', { name: 'Compare: Uncommitted' })).toBeVisible()
  await expect(changes(other)).toContainText('0 / 2 viewed')
  await expect(changedFile(other, 'b.txt').locator('table.split').first()).toBeVisible()
  // The file is at the top, where its sender had it.
  const top = async (of: Locator) => (await of.boundingBox())!.y
  const diffs = changes(other).getByRole('region', { name: 'Diffs' })
  const away = async () => Math.abs((await top(changedFile(other, 'b.txt'))) - (await top(diffs)))
  await expect.poll(away).toBeLessThan(2)
  await expect(terminal(other).getByRole('tab').nth(1)).toHaveAttribute('aria-selected', 'true')

  // Back and forward go between pages and find each as it was left.
  await page.getByRole('button', { name: /^Changes/ }).click()
  await expect(page).toHaveURL(/panel=terminal&|panel=terminal$/)
  await page.getByRole('link', { name: 'Settings' }).click()
  await expect(page.getByRole('heading', { name: 'Settings' })).toBeVisible()
  await page.goBack()
  await expect(terminal(page)).toBeVisible()
  await expect(page.getByRole('region', { name: 'Changes' })).toBeHidden()
  await page.goForward()
  await expect(page.getByRole('heading', { name: 'Settings' })).toBeVisible()

  // A link from the command line brings its own page.
  const third = await (await browser.newContext()).newPage()
  await third.goto(server.cli('login-link', '--open', `${server.url}/settings`).trim())
  await expect(third).toHaveURL(`${server.url}/settings`)
  expect(() => server.cli('login-link', '--open', 'https://example.org/s/x')).toThrow()
})

test('two pages agree on terminals and their names', async ({ signedIn: page, context }) => {
  await newSession(page, 'say: Hello')
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  const second = await context.newPage()
  await page.getByRole('button', { name: 'Terminal', exact: true }).click()
  await expect(terminal(page).getByRole('tab')).toHaveCount(1)
  await second.goto(page.url())
  await expect(terminal(second).getByRole('tab')).toHaveCount(1)

  await page.getByRole('button', { name: 'New terminal' }).first().click()
  await expect(terminal(second).getByRole('tab')).toHaveCount(2)
  await terminal(page).getByRole('tab').nth(1).dblclick()
  await page.getByRole('textbox', { name: /name/i }).fill('server log')
  await page.keyboard.press('Enter')
  await expect(terminal(page).getByRole('tab', { name: /server log/ })).toBeVisible()
  await expect(terminal(second).getByRole('tab', { name: /server log/ })).toBeVisible()
  await second.reload()
  await expect(terminal(second).getByRole('tab', { name: /server log/ })).toBeVisible()
})

test('a person is called once for what happens while nobody looks', async ({ signedIn: page, context, server }) => {
  await context.grantPermissions(['notifications'], { origin: server.url })
  // What the desktop is told; a headless browser has none.
  await context.addInitScript(() => {
    const told: { title: string; body?: string; tag?: string }[] = []
    class Recorded {
      static permission = 'granted'
      static requestPermission = async () => 'granted'
      onclick: (() => void) | undefined
      constructor(title: string, options: NotificationOptions) {
        told.push({ title, body: options.body, tag: options.tag })
        Object.assign(window, { told, lastNotification: this })
      }
      close() {}
    }
    Object.assign(window, { told, Notification: Recorded })
  })
  const told = (of: Page) => of.evaluate(() => (window as unknown as { told: { title: string }[] }).told)
  const look = (of: Page, state: 'visible' | 'hidden') =>
    of.evaluate((value) => {
      Object.defineProperty(document, 'visibilityState', { configurable: true, value })
      Object.defineProperty(document, 'hidden', { configurable: true, value: value === 'hidden' })
      document.dispatchEvent(new Event('visibilitychange'))
    }, state)

  await page.goto(`${server.url}/settings`)
  await page.getByRole('button', { name: 'Turn on desktop notifications' }).click()
  await expect(page.getByText('On in this browser')).toBeVisible()
  const second = await context.newPage()
  await second.goto(`${server.url}/settings`)
  await expect(second.getByRole('button', { name: 'Turn off' })).toBeVisible()

  // Somebody looks at one of the pages: no call.
  await look(page, 'hidden')
  server.cli('session', 'new', 'run: touch seen', '--title', 'Watched')
  const list = second.getByRole('navigation', { name: 'Sessions' })
  await expect(list.getByRole('link', { name: /Needs you.*Watched|Watched.*Needs you/ })).toBeVisible()
  expect([...(await told(page)), ...(await told(second))]).toEqual([])

  await look(second, 'hidden')
  const id = server.cli('session', 'new', 'run: touch unseen', '--title', 'Unwatched').trim()
  const all = async () => [...(await told(page)), ...(await told(second))]
  await expect.poll(all).toMatchObject([{ title: 'Needs you', body: 'Unwatched' }])
  await expect(page).toHaveTitle(/^\(2\)/)

  server.cli('session', 'approve', id, '--accept')
  await expect.poll(all).toMatchObject([{ title: 'Needs you' }, { title: 'Ready', body: 'Unwatched' }])

  // A click leads there.
  const speaker = (await told(page)).length > 0 ? page : second
  await speaker.evaluate(() => (window as unknown as { lastNotification: { onclick: () => void } }).lastNotification.onclick())
  await expect(speaker).toHaveURL(new RegExp(`/s/${id}`))
  await look(speaker, 'visible')
  await expect(approval(speaker)).toBeHidden()
  await expect(said(speaker, /The command ended/)).toBeVisible()
})
