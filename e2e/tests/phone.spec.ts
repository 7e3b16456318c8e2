// A phone: one pane at a time, and a "Back" that a thumb can trust.

import AxeBuilder from '@axe-core/playwright'
import type { Page } from '@playwright/test'
import { chat, composer, newSession, said, sessionId, status } from '../session.ts'
import { expect, test } from '../server.ts'

test.use({ setup: { policy: 'autonomous' }, viewport: { width: 390, height: 844 } })

function tab(page: Page, name: string) {
  return page.getByRole('navigation', { name: 'Panes' }).getByRole('button', { name })
}

const isChosen = (page: Page, name: string) => expect(tab(page, name)).toHaveAttribute('aria-pressed', 'true')

test('Back closes the open pane before it leaves the session', async ({ signedIn: page, server, context }) => {
  const repository = server.repository('notes', { 'README.md': '# Notes\n' })
  await newSession(page, 'say: hello', repository)
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  const id = sessionId(page)
  await page.goto(`${server.url}/`)
  await page.getByRole('link', { name: /say: hello/ }).click()
  await expect(said(page, /^hello$/)).toBeVisible()

  const panes = { Changes: 'changes', Terminal: 'terminal', Ports: 'ports' }
  for (const [name, pane] of Object.entries(panes)) {
    await tab(page, name).click()
    await expect(page.getByRole('main', { name })).toBeVisible()
    await expect(page).toHaveURL(new RegExp(`pane=${pane}`))
    await page.goBack()
    await isChosen(page, 'Chat')
    await expect(composer(page)).toBeVisible()
    await expect(page).not.toHaveURL(/pane=/)
  }
  // Forward opens it again; from pane to pane is no step.
  await page.goForward()
  await isChosen(page, 'Ports')
  await tab(page, 'Terminal').click()
  await isChosen(page, 'Terminal')
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
  // What is open stays over a reload.
  await page.reload()
  await isChosen(page, 'Terminal')
  await page.goBack()
  await isChosen(page, 'Chat')

  // The agent's own interface is closed like the others.
  await page.getByRole('button', { name: 'Session menu' }).click()
  await page.getByRole('menuitem', { name: /own interface/ }).click()
  await expect(page.getByRole('main', { name: /own interface/ })).toBeVisible()
  await page.goBack()
  await expect(chat(page)).toBeVisible()

  // The tab closes a pane too, and leaves no step behind.
  await tab(page, 'Changes').click()
  await isChosen(page, 'Changes')
  await tab(page, 'Chat').click()
  await isChosen(page, 'Chat')
  await expect(page).not.toHaveURL(/pane=/)
  await page.goBack()
  await expect(page).toHaveURL(`${server.url}/`)
  await expect(page.getByRole('link', { name: /say: hello/ })).toBeVisible()

  // A link from a wide page opens the pane that its sender had open, with the chat below it.
  await page.goto(`${server.url}/s/${id}?panel=terminal`)
  await isChosen(page, 'Terminal')
  await page.goBack()
  await isChosen(page, 'Chat')
  await expect(page).toHaveURL(new RegExp(id))
  // And the other way around.
  const wide = await context.newPage()
  await wide.setViewportSize({ width: 1440, height: 900 })
  await wide.goto(`${server.url}/s/${id}?pane=changes`)
  await expect(wide.getByRole('region', { name: 'Changes' })).toBeVisible()
  await expect(wide).toHaveURL(/panel=changes/)
})
