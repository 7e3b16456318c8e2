// The agent's own interface and the chat, on one live thread.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { approval, approveUntil, chat, composer, newSession, said, send, sessionId, status } from '../session.ts'
import { expect, test } from '../server.ts'

const READY = { name: 'Status: Ready' }

function tui(page: Page) {
  return page.getByRole('main', { name: "Codex's own interface" })
}

function screen(page: Page) {
  return tui(page).locator('.xterm-rows')
}

function toggle(page: Page) {
  return page.getByRole('button', { name: 'TUI', exact: true })
}

async function type(page: Page, text: string) {
  await tui(page).locator('.xterm-helper-textarea').focus()
  await page.keyboard.type(text)
}

test('what is said in either shows in the other', async ({ signedIn: page }) => {
  await newSession(page, 'say: first words')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await composer(page).fill('a draft that stays')
  const opening = page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/tui'))
  await toggle(page).click()
  await expect(toggle(page)).toHaveAttribute('aria-pressed', 'true')
  await expect(screen(page)).toContainText('first words')
  await expect(chat(page)).toBeHidden()
  // It began in the size that its screen has: one that changes while the program draws misleads it.
  expect((await opening).postDataJSON().rows).toBe(await screen(page).locator('> div').count())
  // Within the screen, the program chose its colours.
  const { violations } = await new AxeBuilder({ page }).exclude('.xterm-screen').analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])

  await type(page, 'say: from the tui')
  await expect(screen(page)).toContainText('say: from the tui')
  await page.keyboard.press('Enter')
  await expect(screen(page)).toContainText(/• from the tui/)

  // Back by the same keys, which the interface does not see.
  await page.keyboard.press('Control+Shift+e')
  await expect(said(page, /^from the tui/)).toBeVisible()
  await expect(composer(page)).toHaveValue('a draft that stays')
  await send(page, 'say: from the chat')
  await expect(said(page, /^from the chat/)).toBeVisible()
  await page.keyboard.press('Control+Shift+e')
  await expect(screen(page)).toContainText(/• from the chat/)

  // It is where one left it after a reload, and is no terminal tab.
  await page.reload()
  await expect(screen(page)).toContainText(/• from the chat/)
  await page.keyboard.press('Control+j')
  await expect(page.getByRole('tablist', { name: 'Terminals' }).getByRole('tab')).toHaveCount(1)
})

test('an approval that waits is answered in either', async ({ signedIn: page }) => {
  await newSession(page, 'run: echo asked in the chat')
  await expect(approval(page)).toContainText('echo asked in the chat')
  // Opening it interrupts nothing: the question is there too, and is answered there.
  await toggle(page).click()
  await expect(screen(page)).toContainText('echo asked in the chat')
  await expect(screen(page)).toContainText('Would you like to run')
  // Codex overlooks keys in the first moment of a question, lest one answers what one has not read.
  await expect(async () => {
    await type(page, 'y')
    await expect(screen(page)).not.toContainText('Would you like to run', { timeout: 5_000 })
  }).toPass()
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  await toggle(page).click()
  await expect(approval(page)).toHaveCount(0)
  await expect(chat(page)).toContainText('Ran')

  await toggle(page).click()
  await type(page, 'run: echo asked in the tui')
  await expect(screen(page)).toContainText('run: echo asked in the tui')
  await page.keyboard.press('Enter')
  await expect(status(page)).toHaveAccessibleName('Status: Needs you')
  await toggle(page).click()
  await expect(approval(page)).toContainText('echo asked in the tui')
  await approveUntil(page, page.getByRole('button', READY))
  await toggle(page).click()
  await expect(screen(page)).not.toContainText('Would you like to run')
})

test('left from within, the chat is back; stopped, it says why', async ({ signedIn: page }) => {
  test.slow()
  await newSession(page, 'say: hello')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await toggle(page).click()
  await expect(screen(page)).toContainText('hello')
  await type(page, '/quit')
  await expect(screen(page)).toContainText('/quit')
  await page.keyboard.press('Enter')
  await expect(chat(page)).toBeVisible()
  await expect(toggle(page)).toHaveAttribute('aria-pressed', 'false')
  await toggle(page).click()
  await expect(screen(page)).toContainText('hello')

  await page.getByRole('button', { name: 'Session menu' }).click()
  await page.getByRole('menuitem', { name: 'Stop' }).click()
  await expect(page.getByRole('region', { name: 'Stopped' })).toBeVisible()
  await expect(toggle(page)).toHaveAttribute('aria-disabled', 'true')
  await toggle(page).hover()
  await expect(page.getByRole('tooltip')).toContainText('The sandbox does not run')
})

test('opened and left while an answer is being written, it interrupts nothing', async ({ signedIn: page, server }) => {
  test.slow()
  await newSession(page, 'slow stream 200 every 100ms')
  await expect(said(page, /Line 3 of 200/)).toBeVisible()
  await toggle(page).click()
  // The answer goes on in it.
  await expect(screen(page)).toContainText(/Line \d+ of 200/)
  const lines = async () => Math.max(...[...(await screen(page).innerText()).matchAll(/Line (\d+) of/g)].map(([, n]) => Number(n)))
  const first = await lines()
  await expect.poll(lines).toBeGreaterThan(first)
  // Left by the page, and then by the program's own end.
  await page.keyboard.press('Control+Shift+e')
  await expect(chat(page)).toBeVisible()
  await expect(status(page)).toHaveAccessibleName('Status: Working')
  await page.keyboard.press('Control+Shift+e')
  await type(page, '/quit')
  await expect(screen(page)).toContainText('/quit')
  await page.keyboard.press('Enter')
  await expect(chat(page)).toBeVisible()
  await expect(status(page)).toHaveAccessibleName('Status: Working')
  await expect(said(page, /Line 200 of 200/)).toBeVisible({ timeout: 120_000 })
  await expect(page.getByRole('button', READY)).toBeVisible()
  const { data } = await server.api<{ data: unknown[] }>('GET', `/sessions/${sessionId(page)}/events?limit=1000`)
  const ends = data.map((event) => JSON.stringify(event)).filter((event) => event.includes('"turn.completed"'))
  expect(ends).toHaveLength(1)
  expect(ends[0]).toContain('"outcome":{"status":"completed"}')
})

test.describe('on a phone', () => {
  test.use({ viewport: { width: 390, height: 844 } })

  test('it has the whole pane, and is clear to everybody', async ({ signedIn: page }, info) => {
    await newSession(page, 'say: hello')
    await expect(status(page)).toHaveAccessibleName(/Ready/)
    await page.getByRole('button', { name: 'Session menu' }).click()
    await page.getByRole('menuitem', { name: /own interface/ }).click()
    await expect(screen(page)).toContainText('hello')
    await expect(screen(page)).toContainText('Ask Codex')
    await page.screenshot({ path: info.outputPath('tui-phone.png') })
    const place = await tui(page).boundingBox()
    expect(place).toMatchObject({ x: 0, width: 390 })
    // Nothing is cut off at the side.
    const rows = await screen(page).boundingBox()
    expect(rows!.x + rows!.width).toBeLessThanOrEqual(390)
    const { violations } = await new AxeBuilder({ page }).exclude('.xterm-screen').analyze()
    expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
  })
})

test('it follows the primary repository, and the page says so', async ({ signedIn: page, server }) => {
  const sources = ['api', 'page'].map((name) => server.repository(name, { 'README.md': `${name}\n` }))
  const session = await server.api<{ id: string }>('POST', '/sessions', {
    repositories: sources.map((source) => ({ source })),
    task: 'say: hello',
  })
  await page.goto(new URL(`/s/${session.id}`, page.url()).href)
  await expect(page.getByRole('button', READY)).toBeVisible()
  await toggle(page).click()
  await expect(screen(page)).toContainText('/workspace/api')
  await type(page, 'half a thought')
  await expect(screen(page)).toContainText('half a thought')
  await page.getByRole('button', { name: /^Primary repository/ }).click()
  await page.getByRole('menuitemradio', { name: /^page/ }).click()
  await expect(tui(page).getByRole('status')).toHaveText('The next turn runs in page, also when you type it here.')
  // What was being typed stays.
  await expect(screen(page)).toContainText('half a thought')
  await expect(screen(page)).toContainText('/workspace/page')
})
