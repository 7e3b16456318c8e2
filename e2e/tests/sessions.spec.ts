// The list of sessions: searching, filtering, deleting and taking it back.

import AxeBuilder from '@axe-core/playwright'
import type { Page } from '@playwright/test'
import { newSession, sessionId, status } from '../session.ts'
import { expect, test } from '../server.ts'

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
