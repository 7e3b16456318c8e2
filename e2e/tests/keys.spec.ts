// Without a mouse: the palette, the help, and the way between panes.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { composer, newSession, said, sessionId, status } from '../session.ts'
import { expect, test } from '../server.ts'

/** What is behind an open menu is hidden from everybody, headings included, so only the menu is looked at. */
const axe = async (page: Page, of = 'html') => {
  const { violations } = await new AxeBuilder({ page }).include(of).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
}

/** Which pane has the keyboard. */
const pane = (page: Page) =>
  page.evaluate(() => document.activeElement?.closest<HTMLElement>('[data-pane]')?.dataset.pane)

test('everything is reached by keys, and the help says by which', async ({ signedIn: page, server }) => {
  const repository = server.repository('notes', { 'README.md': '# Notes\n' })
  await newSession(page, 'say: hello there', repository)
  await expect(said(page, /^hello there$/)).toBeVisible()
  await expect(status(page)).toHaveAccessibleName(/Ready/)

  await test.step('the help lists what this page can do', async () => {
    await page.getByRole('log').focus()
    await page.keyboard.press('?')
    const help = page.getByRole('dialog', { name: 'Keyboard shortcuts' })
    await expect(help).toBeVisible()
    for (const row of ['Rename session', 'Show terminal', 'Next pane', 'New session']) {
      await expect(help.getByRole('listitem').filter({ hasText: row }).locator('kbd').first()).toBeVisible()
    }
    await axe(page)
    await page.keyboard.press('Escape')
    await expect(help).toBeHidden()
  })

  await test.step('the palette runs a command, and gives the keyboard to what it opens', async () => {
    await page.keyboard.press('Control+k')
    const field = page.getByRole('combobox', { name: 'Search sessions and commands' })
    await field.fill('rename session')
    const option = page.getByRole('option', { name: /Rename session/ })
    await expect(option).toHaveAttribute('aria-selected', 'true')
    await axe(page)
    await page.keyboard.press('Enter')
    const title = page.getByRole('textbox', { name: 'Session title' })
    await expect(title).toBeFocused()
    await title.fill('By keys alone')
    await page.keyboard.press('Enter')
    await expect(page.getByRole('heading', { name: /By keys alone/ })).toBeVisible()
    // The menu has the same title, and the same keys beside it.
    await page.getByRole('button', { name: 'Session menu' }).click()
    await expect(page.getByRole('menuitem', { name: 'Rename session' }).locator('kbd')).toHaveText('R')
    await axe(page, '[role=menu]')
    await page.keyboard.press('Escape')
  })

  await test.step('F6 goes from pane to pane and comes back', async () => {
    await page.keyboard.press('Control+Shift+d')
    await expect(page.getByRole('region', { name: 'Changes' })).toBeVisible()
    await composer(page).focus()
    const first = await pane(page)
    const seen: (string | undefined)[] = []
    do {
      await page.keyboard.press('F6')
      seen.push(await pane(page))
    } while (seen.at(-1) !== first && seen.length < 12)
    expect(seen).toEqual(expect.arrayContaining(['sessions', 'header', 'changes', first]))
    expect(new Set(seen).size).toBe(seen.length)
    await page.keyboard.press('Shift+F6')
    expect(await pane(page)).toBe(seen.at(-2))
  })

  await test.step('a copied link names the conversation in view', async () => {
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url })
    await page.getByRole('button', { name: 'Session menu' }).click()
    await page.getByRole('menuitem', { name: 'Copy link to session' }).click()
    await expect(page.getByText('Link copied')).toBeVisible()
    const link = new URL(await page.evaluate(() => navigator.clipboard.readText()))
    const [own] = (await server.api<{ conversations: { id: string }[] }>('GET', `/sessions/${sessionId(page)}`)).conversations
    expect(link.searchParams.get('conversation')).toBe(own!.id)
  })

  await test.step('a file that is dropped where nothing takes it does not replace the page', async () => {
    const taken = await page.getByRole('banner').evaluate((header) => {
      const files = new DataTransfer()
      files.items.add(new File(['x'], 'x.txt'))
      const drop = new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: files })
      header.dispatchEvent(drop)
      return drop.defaultPrevented
    })
    expect(taken).toBe(true)
  })

  await test.step('a session that the pointer rests on is there when it is opened', async () => {
    await page.goto(`${server.url}/settings`)
    const row = page.getByRole('navigation', { name: 'Sessions' }).getByRole('link', { name: /By keys alone/ })
    const loading = page.waitForEvent('websocket', (socket) => socket.url().includes('/live'))
    await row.hover()
    await loading
  })
})
