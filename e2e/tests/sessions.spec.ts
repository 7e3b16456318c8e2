// The list of sessions: searching, filtering, deleting and taking it back.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { newSession, sessionId, status } from '../session.ts'
import { expect, type Server, test } from '../server.ts'

function list(page: Page) {
  return page.getByRole('navigation', { name: 'Sessions' })
}

function search(page: Page) {
  return list(page).getByRole('searchbox', { name: 'Search sessions' })
}

async function accessible(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
}

test.describe('deleting', () => {
  test.use({ setup: { policy: 'autonomous' } })

  test('is taken back with one key, and from the link, the list and the command line', async ({
    signedIn: page,
    server,
    context,
  }) => {
    const id = await newSession(page, 'say: Hello there')
    await expect(status(page)).toHaveAccessibleName(/Ready/)
    const second = await context.newPage()
    await second.goto(page.url())
    await expect(status(second)).toHaveAccessibleName(/Ready/)

    await page.getByRole('button', { name: 'Session menu' }).click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    await expect(page.getByText('Session deleted')).toBeVisible()
    // The offer stays while one is at it.
    await page.getByText('Session deleted').hover()
    await expect(list(page).getByRole('link', { name: /Hello there/ })).toBeHidden()
    // Whoever looks at it is told at once.
    await expect(second.getByRole('heading', { name: 'This session was deleted' })).toBeVisible()
    await accessible(second)

    // F6 goes to the message, Enter undoes.
    await page.getByRole('button', { name: /^Undo/ }).focus()
    await page.keyboard.press('Enter')
    await expect(page).toHaveURL(new RegExp(id))
    await expect(status(page)).toHaveAccessibleName(/Stopp/)
    await expect(page.getByRole('log').getByText('Hello there').first()).toBeVisible()
    await expect(status(second)).toHaveAccessibleName(/Stopp/)

    // By the command line, and back through the list of what was deleted.
    expect(server.cli('session', 'delete', id)).toContain('mistle session restore')
    await expect(page.getByRole('heading', { name: 'This session was deleted' })).toBeVisible()
    expect(server.cli('session', 'list')).not.toContain(id)
    expect(server.cli('session', 'list', '--deleted')).toContain(id)
    await list(page).getByRole('button', { name: 'Recently deleted' }).click()
    await accessible(page)
    await page.getByRole('button', { name: /^Restore/ }).click()
    await expect(page.getByText('Nothing was deleted lately.')).toBeVisible()
    await expect(list(page).getByRole('link', { name: /Hello there/ })).toBeVisible()

    // For good.
    await list(page).getByRole('link', { name: /Hello there/ }).click()
    await page.getByRole('button', { name: 'Session menu' }).click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    await expect(page.getByText('Session deleted')).toBeVisible()
    await page.goto(`${server.url}/s/${id}`)
    await page.getByRole('button', { name: 'Delete for good' }).click()
    await page.getByRole('alertdialog').getByRole('button', { name: 'Delete for good' }).click()
    await expect(second.getByRole('heading', { name: 'This session is gone' })).toBeVisible()
    expect(() => server.cli('session', 'show', id)).toThrow()
  })
})

test.describe('a session that is back from the trash', () => {
  test.use({ setup: { policy: 'autonomous' } })

  test('can be started right there', async ({ signedIn: page, server }) => {
    const id = await newSession(page, 'say: Hello there')
    await expect(status(page)).toHaveAccessibleName(/Ready/)
    server.cli('session', 'stop', id, '--wait')
    server.cli('session', 'delete', id)
    await page.goto(`${server.url}/deleted`)
    await page.getByRole('button', { name: /^Restore/ }).click()
    const messages = page.getByRole('region', { name: 'Messages' })
    await expect(messages).toContainText('Restored “say: Hello there”')
    await messages.getByText('Restored').hover()
    await accessible(page)
    await messages.getByRole('button', { name: /^Start/ }).click()
    await expect(list(page).getByRole('link', { name: /Hello there/ })).toContainText(/Start|Ready/)
    await list(page).getByRole('link', { name: /Hello there/ }).click()
    await expect(status(page)).toHaveAccessibleName(/Ready/)

    // And from its own page.
    server.cli('session', 'stop', id, '--wait')
    server.cli('session', 'delete', id)
    await page.getByRole('button', { name: 'Restore', exact: true }).click()
    await page.getByRole('region', { name: 'Stopped' }).getByRole('button', { name: 'Start' }).click()
    await expect(status(page)).toHaveAccessibleName(/Ready/)
  })
})

test('a session is renamed in its header, everywhere at once', async ({ signedIn: page, context, server }) => {
  const id = await newSession(page, 'say: First words')
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  const second = await context.newPage()
  await second.goto(page.url())
  const title = (of: Page) => of.getByRole('heading', { level: 1 })
  const field = page.getByRole('textbox', { name: 'Session title' })
  await expect(title(second)).toHaveText(/^say: First words/)

  // Escape leaves it as it was.
  await title(page).getByRole('button').click()
  await expect(field).toBeFocused()
  await expect(field).toHaveValue('say: First words')
  await accessible(page)
  await field.fill('Never mind')
  await field.press('Escape')
  await expect(field).toBeHidden()
  await expect(title(page)).toHaveText(/^say: First words/)

  // Enter keeps it.
  await title(page).getByRole('button').click()
  await field.fill('  Paint the shed  ')
  await field.press('Enter')
  await expect(field).toBeHidden()
  for (const tab of [page, second]) {
    await expect(title(tab)).toHaveText(/^Paint the shed/)
    await expect(list(tab).getByRole('link', { name: /Paint the shed/ })).toBeVisible()
    await expect(tab).toHaveTitle(/Paint the shed/)
  }
  expect((await server.api<{ title: string }>('GET', `/sessions/${id}`)).title).toBe('Paint the shed')
  // An empty one is none.
  await title(page).getByRole('button').click()
  await field.fill('  ')
  await field.press('Enter')
  await expect(title(page)).toHaveText(/^Paint the shed/)
  await page.reload()
  await expect(title(page)).toHaveText(/^Paint the shed/)
})

/** Copies a stopped session, as years of use would leave them: `Copy no-0001` is the oldest. */
function copy(server: Server, id: string, count: number) {
  const script = `
import json, sqlite3, sys
file, source, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
database = sqlite3.connect(file)
database.row_factory = sqlite3.Row
def put(table, row):
    names = ", ".join(row)
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
session = dict(database.execute("SELECT * FROM sessions WHERE id = ?", [source]).fetchone())
index = dict(database.execute("SELECT * FROM session_index WHERE session_id = ?", [source]).fetchone())
for number in range(1, count + 1):
    copied, title = f"ses_{number:032x}", f"Copy no-{number:04}"
    at = f"2020-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    document = json.loads(session["document"]) | {"id": copied, "title": title, "created_at": at, "state_since": at}
    put("sessions", session | {"id": copied, "document": json.dumps(document)})
    put("session_index", index | {"session_id": copied, "about": f"{title}\\n{copied}".lower()})
database.commit()
`
  execFileSync('python3', ['-c', script, join(server.dataDir, 'mistle.db'), id, String(count)])
}

test('a thousand sessions scroll, and the keyboard finds its way', async ({ signedIn: page, server }) => {
  test.slow()
  const id = await newSession(page, 'say: The only real one')
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  server.cli('session', 'stop', id, '--wait')
  await server.kill()
  copy(server, id, 1000)
  await server.start()
  await page.goto(`${server.url}/new`)
  const rows = list(page).getByRole('link', { name: /Copy no-\d{4}|The only real one/ })
  const scrolled = list(page).locator('.sidebar-list')
  const toEnd = () => scrolled.evaluate((element) => element.scrollTo(0, element.scrollHeight))
  await expect(rows.first()).toContainText('The only real one')
  await expect(list(page).getByRole('heading', { name: /^Stopped/ })).toBeVisible()

  // Pages come as one scrolls, until one is asked; no more is drawn than is seen.
  const more = list(page).getByRole('button', { name: 'Show older sessions' })
  await expect(async () => {
    await toEnd()
    await expect(more).toBeInViewport({ timeout: 500 })
  }).toPass()
  expect(await rows.count()).toBeLessThan(60)
  const size = async () => Number(await rows.last().locator('xpath=..').getAttribute('aria-setsize'))
  const known = await size()
  expect(known).toBeGreaterThanOrEqual(450)
  await more.click()
  await expect.poll(size).toBe(known + 200)
  await expect(list(page).getByRole('heading', { name: /^Stopped/ })).toContainText(String(known + 200))
  await toEnd()
  await accessible(page)

  // From the search down, wherever the list was.
  await search(page).focus()
  await page.keyboard.press('ArrowDown')
  await expect(rows.first()).toBeFocused()
  await expect(rows.first()).toBeInViewport()
  for (let step = 0; step < 40; step++) await page.keyboard.press('ArrowDown')
  const place = () => page.locator(':focus').locator('xpath=..').getAttribute('aria-posinset')
  await expect.poll(place).toBe('41')
  await expect(page.locator(':focus')).toBeInViewport()
  // What is scrolled away keeps the keyboard, and leads back to where it is.
  await toEnd()
  expect(await place()).toBe('41')
  await page.keyboard.press('ArrowUp')
  await expect.poll(place).toBe('40')
  await expect(page.locator(':focus')).toBeInViewport()

  // The search finds what no page has brought yet.
  await toEnd()
  await search(page).fill('no-0007')
  await expect(rows).toHaveCount(1)
  await expect(rows).toBeInViewport()
  await accessible(page)
  await search(page).press('Enter')
  await expect(page).toHaveURL(/\/s\/ses_0{31}7/)
  await expect(rows).toHaveAttribute('aria-current', 'page')
})

test.describe('after the grace time', () => {
  test.use({ setup: { policy: 'autonomous', config: '[sessions]\nkeep_deleted = "2s"' } })

  test('a restarted server destroys what was deleted before', async ({ signedIn: page, server }) => {
    const id = await newSession(page, 'say: Short lived')
    await expect(status(page)).toHaveAccessibleName(/Ready/)
    server.cli('session', 'delete', id)
    await server.kill()
    await server.start()
    await expect
      .poll(async () => {
        const answer = await server.api('GET', `/sessions/${id}`).catch((error: Error) => error.message)
        return String(answer)
      })
      .toContain('404')
    await expect(page.getByRole('heading', { name: 'This session is gone' })).toBeVisible()
  })
})

test('sessions are found by what they are about, and the address keeps it', async ({ signedIn: page, server }) => {
  const repository = server.repository('widgets', { 'README.md': 'Widgets' })
  await newSession(page, 'say: Paint the shed\nIt should be turquoise.')
  const paint = sessionId(page)
  await newSession(page, 'say: Mend the fence', repository)
  const fence = sessionId(page)
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  const rows = list(page).getByRole('link', { name: /say: / })
  await expect(rows).toHaveCount(2)

  // By a word of the task that no title says.
  await page.getByRole('button', { name: 'Session menu' }).focus()
  await page.keyboard.press('/')
  await expect(search(page)).toBeFocused()
  await page.keyboard.type('TURQUOISE')
  await expect(rows).toHaveCount(1)
  await expect(page).toHaveURL(/q=TURQUOISE/)
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(new RegExp(`/s/${paint}\\?q=TURQUOISE`))
  await page.reload()
  await expect(search(page)).toHaveValue('TURQUOISE')
  await expect(rows).toHaveCount(1)

  // Nothing, and the way out of it.
  await search(page).fill('no such thing')
  await expect(list(page).getByText('No session matches.')).toBeVisible()
  await accessible(page)
  await list(page).getByRole('button', { name: 'Clear filters' }).click()
  await expect(rows).toHaveCount(2)
  await expect(page).not.toHaveURL(/q=/)

  // By repository and by status.
  await list(page).getByRole('button', { name: 'Filter sessions' }).click()
  await page.getByRole('menuitemcheckbox', { name: /widgets/ }).click()
  await page.keyboard.press('Escape')
  await expect(rows).toHaveCount(1)
  await expect(rows).toHaveAttribute('href', new RegExp(fence))
  await list(page).getByRole('button', { name: 'Remove filter widgets' }).click()
  await expect(rows).toHaveCount(2)
  await page.goto(`${server.url}/s/${fence}?status=stopped`)
  await expect(list(page).getByText('No session matches.')).toBeVisible()
  // A list that is narrowed follows what happens.
  server.cli('session', 'stop', fence)
  await expect(rows).toHaveCount(1)
  await list(page).getByRole('button', { name: 'Remove filter Stopped' }).click()

  // The palette finds what the list does not show.
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox', { name: 'Search sessions and commands' }).fill('turquoise')
  await page.getByRole('option', { name: /Paint the shed/ }).click()
  await expect(page).toHaveURL(new RegExp(paint))
})
