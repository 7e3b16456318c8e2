// What a person does with a session, by the names that they see.

import type { Locator, Page } from '@playwright/test'
import { expect } from './server.ts'

/** Starts a session from the new-session page and waits until its page is there. */
export async function newSession(page: Page, task: string, repository?: string) {
  await page.goto(new URL('/new', page.url()).href)
  if (repository !== undefined) await page.getByRole('combobox', { name: 'Repository' }).fill(repository)
  const box = page.getByRole('textbox', { name: /task/i })
  await box.fill(task)
  await box.press('Enter')
  await expect(page).toHaveURL(/\/s\/ses_[0-9a-f]{32}/)
  return sessionId(page)
}

export function sessionId(page: Page) {
  return page.url().match(/ses_[0-9a-f]{32}/)![0]
}

export function composer(page: Page) {
  return page.getByRole('textbox', { name: 'Message', exact: true })
}

export async function send(page: Page, text: string) {
  await composer(page).fill(text)
  await composer(page).press('Enter')
}

export function chat(page: Page) {
  return page.getByRole('log')
}

/** What the agent said, which may still grow. The same words of a person are no answer. */
export function said(page: Page, text: string | RegExp): Locator {
  return chat(page).locator('.agent').getByText(text).first()
}

/** Messages that wait for the agent. */
export function queue(page: Page) {
  return page.getByRole('region', { name: 'Queued messages' })
}

/** The status in the header, as a word. */
export function status(page: Page) {
  return page.getByRole('button', { name: /^Status: / })
}

/** The card of the approval that waits. */
export function approval(page: Page) {
  return page.getByRole('region', { name: /^Approval: / })
}

/** Approves whatever is asked until `end` is there. */
export async function approveUntil(page: Page, end: Locator) {
  const ask = approval(page).getByRole('button', { name: /^Approve( Y)?$/ })
  for (;;) {
    await expect(ask.or(end).first()).toBeVisible()
    if (await end.isVisible()) return
    // It may be answered already: this card is gone then, and another one may have come.
    await ask.click({ timeout: 5_000 }).catch(() => undefined)
  }
}
