// What the composer completes, and the queue's order.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { chat, composer, newSession, queue, said, send, status } from '../session.ts'
import { expect, test } from '../server.ts'

test.use({ setup: { policy: 'autonomous' } })

async function look(page: Page, path: string) {
  await page.screenshot({ path })
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), path).toEqual([])
}

const files = (page: Page) => page.getByRole('listbox', { name: 'Files' })

test('@ finds files', async ({ signedIn: page, server }, info) => {
  const repository = server.repository('project', {
    'src/net/retry.rs': 'fn retry() {}\n',
    'src/net/route.rs': '\n',
    'docs/my notes.md': '# Notes\n',
    'package.json': '{}\n',
    'logo.png': 'x',
  })
  await newSession(page, 'say: ready', repository)
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  const box = composer(page)
  await box.pressSequentially('Look at @retr')
  const option = files(page).getByRole('option', { name: /retry\.rs/ })
  await expect(option).toHaveAttribute('aria-selected', 'true')
  // The text field names the active option, so that a screen reader hears it.
  await expect(box).toHaveAttribute('aria-activedescendant', (await option.getAttribute('id'))!)
  await expect(box).toHaveAttribute('aria-controls', (await files(page).getAttribute('id'))!)
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme: scheme })
    await look(page, info.outputPath(`files-${scheme}.png`))
  }
  await page.setViewportSize({ width: 390, height: 844 })
  await look(page, info.outputPath('files-phone-dark.png'))
  await page.setViewportSize({ width: 1440, height: 900 })
  await box.press('Enter')
  await expect(box).toHaveValue('Look at src/net/retry.rs ')
  await expect(files(page)).toHaveCount(0)

  // Arrows, Tab, quotes.
  await box.pressSequentially('and @')
  await expect(files(page).getByRole('option')).toHaveCount(5)
  await box.press('ArrowDown')
  await expect(files(page).getByRole('option').nth(1)).toHaveAttribute('aria-selected', 'true')
  await box.press('ArrowUp')
  await box.press('ArrowUp')
  await expect(files(page).getByRole('option').last()).toHaveAttribute('aria-selected', 'true')
  await box.pressSequentially('notes')
  await expect(files(page).getByRole('option').first()).toHaveText(/my notes\.md/)
  await box.press('Tab')
  await expect(box).toHaveValue('Look at src/net/retry.rs and "docs/my notes.md" ')

  // The mouse.
  await box.fill('@json')
  await files(page).getByRole('option', { name: /package\.json/ }).click()
  await expect(box).toHaveValue('package.json ')
  await expect(box).toBeFocused()

  // Nothing found holds nothing up: Enter sends.
  await box.fill('say: mail @nobodyhere')
  await expect(page.getByText('No file matches.').first()).toBeVisible()
  await box.press('Enter')
  await expect(box).toHaveValue('')
  await expect(said(page, 'mail @nobodyhere')).toBeVisible()
})

test('Escape closes what is open before it interrupts, and interrupts from nowhere else', async ({ signedIn: page }) => {
  await newSession(page, 'run: sleep 600')
  await expect(status(page)).toHaveAccessibleName(/Working/)
  const interrupts: string[] = []
  page.on('request', (request) => {
    if (request.url().includes('/interrupt')) interrupts.push(request.url())
  })
  await page.getByRole('searchbox', { name: 'Search sessions' }).press('Escape')
  await page.keyboard.press('Control+Shift+d')
  const changes = page.getByRole('region', { name: 'Changes', exact: true })
  await changes.getByRole('button').first().press('Escape')
  await expect(changes).toBeVisible()
  await page.keyboard.press('Control+Shift+d')
  const box = composer(page)
  await box.pressSequentially('see @')
  await expect(files(page).getByRole('option').first()).toBeVisible()
  await box.press('Escape')
  await expect(files(page)).toHaveCount(0)
  await expect(status(page)).toHaveAccessibleName(/Working/)
  await expect(box).toHaveValue('see @')
  // It stays closed while the same word is written on, and opens at another.
  await box.pressSequentially('src')
  await expect(files(page)).toHaveCount(0)
  expect(interrupts).toEqual([])
  await box.press('Escape')
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  expect(interrupts).toHaveLength(1)
  await send(page, 'run: sleep 600')
  await expect(status(page)).toHaveAccessibleName(/Working/)
  await chat(page).press('Escape')
  await expect(status(page)).toHaveAccessibleName(/Ready/)
})

test('a stopped sandbox says that its files are in it', async ({ signedIn: page, server }) => {
  const id = await newSession(page, 'say: ready')
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  await server.api('POST', `/sessions/${id}/stop`)
  await expect(status(page)).toHaveAccessibleName(/Stopped/)
  await composer(page).fill('@re')
  await expect(page.getByText('The sandbox is stopped, and its files are in it.').first()).toBeVisible()
  await composer(page).fill('/')
  await expect(page.getByText('Start the session to see what the agent can be told.').first()).toBeVisible()
})

test('/ runs what the agent offers', async ({ signedIn: page }, info) => {
  await newSession(page, 'remember the word heron')
  await expect(said(page, /I will remember/)).toBeVisible()
  const box = composer(page)
  const commands = page.getByRole('listbox', { name: 'Commands' })
  await box.pressSequentially('/com')
  await expect(commands.getByRole('option')).toHaveCount(1)
  await box.press('Enter')
  await expect(box).toHaveValue('')
  await expect(chat(page).getByText('Context compacted')).toBeVisible()
  await expect(status(page)).toHaveAccessibleName(/Ready/)

  // What all this cost is told, on a phone too.
  for (const width of [390, 1440]) {
    await page.setViewportSize({ width, height: 844 })
    await page.getByRole('button', { name: /% of the context used$/ }).click()
    const use = page.getByRole('dialog', { name: 'Token use' })
    await expect(use).toHaveText(/In the context[\d,.]+ of [\d,.]+Input so far[\d,.]+.*Output so far[\d,.]+$/)
    await look(page, info.outputPath(`tokens-${width}.png`))
    await page.keyboard.press('Escape')
    await expect(use).toBeHidden()
  }

  await box.pressSequentially('/rev')
  await commands.getByRole('option', { name: /^\/review/ }).click()
  await expect(box).toHaveValue('/review ')
  await box.pressSequentially('say: nothing to complain about')
  await box.press('Enter')
  await expect(chat(page).getByText('Review ended').first()).toBeVisible()
  await expect(said(page, 'nothing to complain about')).toBeVisible()
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  await look(page, info.outputPath('commands-run-light.png'))

  // What is no command is a message; what can't run now says so and is not lost.
  await send(page, 'run: sleep 600')
  await expect(status(page)).toHaveAccessibleName(/Working/)
  await box.fill('/review')
  await box.press('Enter')
  await box.press('Enter')
  await expect(page.getByText(/needs a turn of its own/)).toBeVisible()
  await expect(box).toHaveValue(/^\/review/)
})

test('a command whose answer does not come says so, and is run once', async ({ signedIn: page }) => {
  test.slow()
  await newSession(page, 'remember the word heron')
  await expect(said(page, /I will remember/)).toBeVisible()
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  const box = composer(page)

  // An answer that is lost on its way back is asked for again, and nothing is run twice.
  let lost = 0
  await page.route('**/commands', async (route) => {
    if (route.request().method() !== 'POST' || lost > 0) return route.continue()
    lost += 1
    await route.fetch()
    return route.abort('connectionreset')
  })
  await box.fill('/review say: nothing to complain about')
  await box.press('Enter')
  await expect(said(page, 'nothing to complain about')).toBeVisible()
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  expect(lost).toBe(1)
  await send(page, 'say: over')
  await expect(chat(page).getByText('over', { exact: true }).first()).toBeVisible()
  await expect(chat(page).getByText('Review began')).toHaveCount(1)
  await page.unroute('**/commands')

  // A server that can't be reached: what was typed is there, and what to do about it.
  await page.route('**/commands', (route) =>
    route.request().method() === 'POST' ? route.abort('connectionrefused') : route.continue(),
  )
  await box.pressSequentially('/com')
  await expect(page.getByRole('listbox', { name: 'Commands' }).getByRole('option')).toHaveCount(1)
  await box.press('Enter')
  const failed = page.getByRole('alert').filter({ hasText: 'Run /compact failed' })
  await expect(failed).toContainText('did not run')
  await expect(box).toHaveValue('/compact')
  await page.unroute('**/commands')
  await page.getByRole('button', { name: /^Run again/ }).click()
  await expect(chat(page).getByText('Context compacted')).toBeVisible()
  await expect(box).toHaveValue('')
  await expect(failed).toHaveCount(0)
})

test('the queue is put into another order, and every tab sees it', async ({ signedIn: page, context }, info) => {
  await newSession(page, 'run: sleep 600')
  await expect(status(page)).toHaveAccessibleName(/Working/)
  for (const text of ['say: one', 'say: two', 'say: three']) {
    await composer(page).fill(text)
    await composer(page).press('Tab')
  }
  const rows = (of: Page) => of.getByRole('region', { name: 'Queued messages' }).getByRole('listitem')
  await expect(rows(page)).toHaveText([/one/, /two/, /three/])
  const other = await context.newPage()
  await other.goto(page.url())
  await expect(rows(other)).toHaveText([/one/, /two/, /three/])

  // By keyboard.
  const handle = page.getByRole('button', { name: /^Move “say: three/ })
  await handle.focus()
  await page.keyboard.press('ArrowUp')
  await expect(rows(page)).toHaveText([/one/, /three/, /two/])
  await expect(rows(other)).toHaveText([/one/, /three/, /two/])
  await expect(handle).toBeFocused()
  await page.keyboard.press('ArrowUp')
  await expect(rows(other)).toHaveText([/three/, /one/, /two/])
  await look(page, info.outputPath('queue-light.png'))

  // By mouse, in the other tab.
  const drag = (await other.getByRole('button', { name: /^Move “say: three/ }).boundingBox())!
  const last = (await rows(other).last().boundingBox())!
  await other.mouse.move(drag.x + 5, drag.y + 5)
  await other.mouse.down()
  await other.mouse.move(drag.x + 5, last.y + last.height + 2, { steps: 5 })
  await other.mouse.up()
  await expect(rows(page)).toHaveText([/one/, /two/, /three/])

  // Edited, removed, sent now.
  await rows(page).nth(0).getByRole('button', { name: 'Remove message' }).click()
  await expect(rows(other)).toHaveText([/two/, /three/])
  await rows(page).nth(0).getByRole('button', { name: 'Edit message' }).click()
  await page.getByRole('textbox', { name: 'Queued message' }).fill('say: zwei')
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(rows(other)).toHaveText([/zwei/, /three/])
  await other.getByRole('button', { name: /^Move “say: three/ }).focus()
  await other.keyboard.press('ArrowUp')
  await expect(rows(page)).toHaveText([/three/, /zwei/])
  await page.getByRole('button', { name: /Interrupt/ }).click()
  await expect(said(page, /^zwei$/)).toBeVisible()
  const told = await chat(page).innerText()
  expect(told.indexOf('three')).toBeGreaterThan(-1)
  expect(told.indexOf('three')).toBeLessThan(told.indexOf('zwei'))
})

test('a message that waits is changed without its comments, sent, and said again', async ({ signedIn: page, server }) => {
  test.slow()
  const repository = server.repository('project', { 'README.md': '# Project\n' })
  const id = await newSession(page, 'create notes.txt: hello', repository)
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  const anchor = { path: { text: 'notes.txt' }, side: 'new', start_line: 1, end_line: 1, quote: ['hello'] }
  const chips = page.getByRole('list', { name: 'Comments that leave with the message' })
  await server.api('POST', `/sessions/${id}/comments`, { anchor, text: 'Say it louder still' })
  await expect(chips.getByRole('listitem')).toHaveCount(1)
  await page.route('**/messages', (route) => route.abort('connectionrefused'))
  await composer(page).fill('run: sleep 600')
  // The comment is the message's as long as that may still arrive.
  await composer(page).press('Enter')
  await expect(chat(page)).toContainText('Not sent')
  await expect(chips).toHaveCount(0)
  await chat(page).getByRole('button', { name: 'Edit', exact: true }).click()
  await expect(composer(page)).toHaveValue('run: sleep 600')
  await expect(chips.getByRole('listitem')).toHaveCount(1)
  await page.unroute('**/messages')
  await composer(page).fill('')
  await server.api('POST', `/sessions/${id}/messages`, { text: 'run: sleep 600' })
  await expect(status(page)).toHaveAccessibleName(/Working/)

  // Queued, it shows what the person wrote, and that comments go with it.
  await composer(page).pressSequentially('Look')
  await composer(page).press('Shift+Enter')
  await composer(page).pressSequentially('again')
  await expect(composer(page)).toHaveValue('Look\nagain')
  await composer(page).press('Tab')
  await expect(queue(page).getByRole('listitem')).toHaveText(/^Look\s+again\s*1 comment on the changes$/)
  const edit = queue(page).getByRole('textbox', { name: 'Queued message' })
  await queue(page).getByRole('button', { name: 'Edit message' }).click()
  await expect(edit).toBeFocused()
  await expect(edit).toHaveValue('Look\nagain')

  // A change that was not saved is not lost, nor is one that nobody saved yet.
  await edit.fill('Look twice\nat this')
  await page.route('**/messages/*', (route) => route.abort('connectionrefused'))
  await edit.press('Enter')
  await expect(queue(page).getByRole('alert')).toContainText('Not saved')
  await expect(edit).toHaveValue('Look twice\nat this')
  await page.unroute('**/messages/*')
  await page.reload()
  await expect(edit).toHaveValue('Look twice\nat this')
  await queue(page).getByRole('button', { name: 'Save' }).click()
  await expect(edit).toHaveCount(0)
  type Waiting = { id: string; text: string; comments: string[] }
  const [waiting] = await server.api<Waiting[]>('GET', `/sessions/${id}/messages`)
  expect(waiting!.text).toMatch(/^Look twice\nat this\n\nComments on the changes:\n[^]*Say it louder still\n$/)

  // It leaves while it is being changed: the words go where they can still be sent.
  await composer(page).fill('And')
  await queue(page).getByRole('button', { name: 'Edit message' }).click()
  await edit.fill('Too late')
  await server.api('PATCH', `/sessions/${id}/messages/${waiting!.id}`, { delivery: 'steer' })
  await expect(queue(page)).toBeHidden()
  await expect(composer(page)).toHaveValue('Too late\n\nAnd')
  await expect(page.getByText('What you wrote is in the composer.')).toBeVisible()

  // Sent at once when a person says so.
  await composer(page).fill('say: now')
  await composer(page).press('Tab')
  await queue(page).getByRole('button', { name: 'Send now' }).click()
  await expect(queue(page)).toBeHidden()
  await expect(chat(page).getByText('say: now')).toBeVisible()

  // Recalled, a text of several lines is walked through first, and has no quotes.
  const box = composer(page)
  await box.press('ArrowUp')
  await expect(box).toHaveValue('say: now')
  await box.press('ArrowUp')
  await expect(box).toHaveValue('Look twice\nat this')
  await box.press('ArrowUp')
  await expect(box).toHaveValue('Look twice\nat this')
  await box.press('ArrowUp')
  await expect(box).toHaveValue('run: sleep 600')
  await box.press('ArrowDown')
  await expect(box).toHaveValue('Look twice\nat this')
})
