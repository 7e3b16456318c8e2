// The agent's own interface and the chat, on one live thread.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { approval, approveUntil, chat, composer, newSession, said, send, status } from '../session.ts'
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
  await toggle(page).click()
  await expect(toggle(page)).toHaveAttribute('aria-pressed', 'true')
  await expect(screen(page)).toContainText('first words')
  await expect(chat(page)).toBeHidden()
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
