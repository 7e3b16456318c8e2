// The Changes panel, by the names that a person sees.

import type { Page } from '@playwright/test'
import { expect } from './server.ts'

export function changesButton(page: Page) {
  return page.getByRole('button', { name: /^Changes/ })
}

/** The panel: on a phone it is the page's main part, beside the conversation a region of its own. */
export function changes(page: Page) {
  const name = { name: 'Changes', exact: true }
  return page.getByRole('region', name).or(page.getByRole('main', name))
}

/** Opens it, unless it is open. */
export async function opened(page: Page) {
  if (!(await changes(page).isVisible())) await changesButton(page).click()
  await expect(changes(page)).toBeVisible()
}

export function changedFile(page: Page, path: string) {
  return changes(page).getByRole('region', { name: path, exact: true })
}

export function viewed(page: Page, path: string) {
  return changedFile(page, path).getByRole('checkbox', { name: `Viewed ${path}` })
}

/** The number of a line: comments begin there. */
export function number(page: Page, path: string, line: number, side: 'old' | 'new' = 'new') {
  return changedFile(page, path).locator(`td.number[data-side="${side}"][data-no="${line}"]`)
}

/** Chooses what the tree is compared with. */
export async function compare(page: Page, scope: 'Branch' | 'Uncommitted' | 'Since the last turn') {
  await changes(page).getByRole('button', { name: /^Compare: / }).click()
  await page.getByRole('menuitemradio', { name: new RegExp(`^${scope}`) }).click()
  await expect(changes(page).getByRole('button', { name: `Compare: ${scope}` })).toBeVisible()
  await drawn(page)
}

/** Waits until what is in view stays where it is: diffs that come move what is below them. */
async function drawn(page: Page) {
  await expect(changes(page).locator('[aria-busy="true"]')).toHaveCount(0)
}
