// Terminals as a person uses them: tabs, names, exit codes, and nothing lost whatever dies or floods.

import { AxeBuilder } from '../axe.ts'
import type { Browser, BrowserContext, Page } from '@playwright/test'
import { composer, newSession } from '../session.ts'
import { expect, type Server, test } from '../server.ts'

const READY = { name: 'Status: Ready' }

async function open(page: Page) {
  const id = await newSession(page, 'say: hello')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await page.keyboard.press('Control+j')
  await expect(screen(page)).toContainText('demo')
  return id
}

/** The terminal that is seen. */
function panel(page: Page) {
  return page.getByRole('tabpanel')
}

function screen(page: Page) {
  return panel(page).locator('.xterm-rows')
}

function tabs(page: Page) {
  return page.getByRole('tablist', { name: 'Terminals' }).getByRole('tab')
}

async function type(page: Page, text: string) {
  await panel(page).locator('.xterm-helper-textarea').focus()
  await page.keyboard.type(text)
}

/** Another browser of the same person. */
async function elsewhere(browser: Browser, server: Server, url: string): Promise<[Page, BrowserContext]> {
  const context = await browser.newContext()
  const page = await context.newPage()
  const link = server.cli('login-link').match(/\S+\/login\?code=\S+/)?.[0]
  await page.goto(link!)
  await page.goto(url)
  return [page, context]
}

test('tabs are opened, named, switched and closed', async ({ signedIn: page }) => {
  await open(page)
  await type(page, 'echo "in $((20 + 1))"\n')
  await expect(screen(page)).toContainText('in 21')

  // By key, from within the terminal, which does not see it.
  await page.keyboard.press('Control+Shift+Backquote')
  await expect(tabs(page)).toHaveCount(2)
  await expect(tabs(page).nth(1)).toHaveAttribute('aria-selected', 'true')
  await expect(screen(page)).toContainText('demo')
  await expect(screen(page)).not.toContainText('in 21')
  // The keyboard is in the new one.
  await page.keyboard.type('echo "in $((20 + 2))"\n')
  await expect(screen(page)).toContainText('in 22')

  await tabs(page).nth(1).dblclick()
  const name = page.getByRole('textbox', { name: 'Terminal name' })
  await name.fill('dev server')
  await name.press('Enter')
  await expect(tabs(page).nth(1)).toHaveText('dev server')

  await page.keyboard.press('Alt+Shift+ArrowLeft')
  await expect(screen(page)).toContainText('in 21')
  await tabs(page).nth(1).click()
  await expect(screen(page)).toContainText('in 22')

  // The panel comes back as it was, with the names, and each with its scrollback.
  await page.reload()
  await expect(tabs(page)).toHaveCount(2)
  await expect(tabs(page).nth(1)).toHaveText('dev server')
  await expect(tabs(page).nth(1)).toHaveAttribute('aria-selected', 'true')
  await expect(screen(page)).toContainText('in 22')
  await tabs(page).first().click()
  await expect(screen(page)).toContainText('in 21')

  await tabs(page).first().press('Delete')
  await expect(tabs(page)).toHaveText(['dev server'])
  await expect(screen(page)).toContainText('in 22')
  await page.getByRole('button', { name: 'Terminal menu' }).click()
  await page.getByRole('menuitem', { name: 'Close terminal' }).click()
  await expect(page.getByRole('tablist', { name: 'Terminals' })).toBeHidden()
  // Without a terminal left, showing the panel opens one.
  await page.getByRole('button', { name: 'Terminal', exact: true }).click()
  await expect(tabs(page)).toHaveCount(1)
  await expect(screen(page)).toContainText('demo')
  await expect(screen(page)).not.toContainText('in 2')
})

test('an ended shell says its exit code, and is replaced', async ({ signedIn: page }) => {
  await open(page)
  await type(page, 'exit 3\n')
  await expect(tabs(page).first()).toContainText('exit 3')
  await expect(panel(page)).toContainText('The shell ended with exit code 3.')
  await page.reload()
  await expect(tabs(page).first()).toContainText('exit 3')
  await expect(screen(page)).toContainText('exit 3')
  await panel(page).getByRole('button', { name: 'New terminal' }).click()
  await expect(tabs(page)).toHaveCount(1)
  await expect(tabs(page).first()).not.toContainText('exit')
  await page.keyboard.type('echo "alive $((1 + 1))"\n')
  await expect(screen(page)).toContainText('alive 2')
})

test('text is found, with a count', async ({ signedIn: page }) => {
  await open(page)
  await type(page, 'clear; for i in 1 2 3; do echo needle-$i; done; seq 100\n')
  await expect(screen(page)).toContainText('100')
  await page.keyboard.press('Control+Shift+f')
  await page.getByRole('textbox', { name: 'Find in terminal' }).fill('needle-')
  const count = panel(page).getByRole('search').getByRole('status')
  await expect(count).toHaveText(/of [34]$/)
  const first = await count.innerText()
  await page.keyboard.press('Enter')
  await expect(count).not.toHaveText(first)
  await page.keyboard.press('Escape')
  // The keyboard is back in the terminal.
  await page.keyboard.type('echo "back $((1 + 1))"\n')
  await expect(screen(page)).toContainText('back 2')
})

test('two browsers look at one terminal', async ({ signedIn: page, browser, server }) => {
  const id = await open(page)
  await type(page, 'KEPT=both; echo "first $KEPT"\n')
  await expect(screen(page)).toContainText('first both')

  // The address opens the terminal there too.
  const [other, context] = await elsewhere(browser, server, page.url())
  await expect(screen(other)).toContainText('first both')
  await type(other, 'echo "second $KEPT"; stty size\n')
  for (const viewer of [page, other]) await expect(screen(viewer)).toContainText('second both')

  // The terminal has the size of who works in it, and neither reacts to the other's.
  const size = async () => (await server.api<{ cols: number }[]>('GET', `/sessions/${id}/terminals`))[0]!.cols
  const before = await size()
  await other.setViewportSize({ width: 1000, height: 700 })
  await expect.poll(size).toBeLessThan(before)
  await type(other, 'clear; echo "narrow $(stty size)"\n')
  const narrow = await columns(other, 'narrow')
  await type(page, 'clear; echo "wide $(stty size)"\n')
  expect(await columns(page, 'wide')).toBeGreaterThan(narrow)

  // Closed in one, it is gone in the other.
  await tabs(other).first().press('Delete')
  await expect(page.getByText(/The shell ended/).or(page.getByRole('tablist', { name: 'Terminals' }))).not.toContainText('bash')
  await context.close()
})

async function columns(page: Page, word: string) {
  const said = new RegExp(`${word} \\d+ (\\d+)`)
  await expect(screen(page)).toContainText(said)
  return Number((await screen(page).innerText()).match(said)![1])
}

test('a terminal outlives its server, and what was typed meanwhile arrives', async ({ signedIn: page, server }) => {
  await open(page)
  await type(page, 'for i in $(seq 5); do echo "before-$i"; done; KEPT=yes\n')
  await expect(screen(page)).toContainText('before-5')
  await server.kill()
  await expect(page.locator('.terminal-note')).toHaveText('Reconnecting…')
  await type(page, 'echo "typed-$KEPT"\n')
  await server.start()
  await expect(screen(page)).toContainText('typed-yes')
  await expect(screen(page)).toContainText('before-5')
  const text = await screen(page).innerText()
  expect(text.match(/^before-5/gm)).toHaveLength(1)
  expect(text.match(/^typed-yes/gm)).toHaveLength(1)
})

test('a flood stalls neither the page nor another terminal', async ({ signedIn: page }) => {
  await open(page)
  await type(page, 'yes flood\n')
  await expect(screen(page)).toContainText('flood')
  // The conversation beside it takes keys as they come.
  await composer(page).focus()
  await composer(page).pressSequentially('typed beside a flood')
  await expect(composer(page)).toHaveValue('typed beside a flood')

  await page.keyboard.press('Control+Shift+Backquote')
  await expect(tabs(page)).toHaveCount(2)
  await expect(screen(page)).toContainText('demo')
  await page.keyboard.type('echo "calm $((40 + 2))"\n')
  await expect(screen(page)).toContainText('calm 42')

  // Ctrl-C is heard at once, and the page holds no backlog that goes on scrolling.
  await tabs(page).first().click()
  await expect(screen(page)).toContainText('flood')
  await page.keyboard.press('Control+c')
  await page.keyboard.type('echo "over $((1 + 1))"\n')
  await expect(screen(page)).toContainText('over 2')
})

test('questions that were asked before are not answered again', async ({ signedIn: page }) => {
  await open(page)
  // Asks for the device's attributes and status; the answers are read, so that nothing is left.
  await type(page, `printf '\\e[c\\e[6n'; read -rsd R -t 60 answer; echo "asked \${#answer}"\n`)
  await expect(screen(page)).toContainText(/asked [1-9]/)
  await page.reload()
  await expect(screen(page)).toContainText(/asked [1-9]/)
  await type(page, 'echo "clean $((1 + 1))"\n')
  await expect(screen(page)).toContainText('clean 2')
  expect(await screen(page).innerText()).not.toMatch(/\$ .*(?:;1R|\[\?1;2c|1;2c)/)
})

test('programs reach neither the clipboard nor the page', async ({ signedIn: page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await open(page)
  await page.evaluate(() => navigator.clipboard.writeText('mine'))
  await type(page, `printf '\\e]52;c;c3RvbGVu\\a\\e]2;<b>x</b>\\u202egnp\\a'; read -rs; echo "done $((1 + 1))"\n`)
  await expect(tabs(page).first()).toHaveText('<b>x</b>gnp')
  await page.keyboard.press('Enter')
  await expect(screen(page)).toContainText('done 2')
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('mine')
})

test('without a sandbox that runs the terminal says so and starts it', async ({ signedIn: page }) => {
  test.slow()
  await open(page)
  await page.getByRole('button', { name: 'Session menu' }).click()
  await page.getByRole('menuitem', { name: 'Stop' }).click()
  const area = page.getByRole('region', { name: 'Terminal' })
  await expect(area).toContainText('Terminals are in the sandbox, which does not run.')
  await expect(area.getByRole('button', { name: 'The sandbox does not run' })).toBeVisible()
  await area.getByRole('button', { name: 'Start' }).click()
  await expect(screen(page)).toContainText('demo')
  await expect(tabs(page)).toHaveCount(1)
})

test('tabs, search and ended shells are accessible', async ({ signedIn: page }) => {
  await open(page)
  await page.keyboard.press('Control+Shift+Backquote')
  await expect(tabs(page)).toHaveCount(2)
  await expect(screen(page)).toContainText('demo')
  await page.keyboard.type('exit 1\n')
  await expect(tabs(page).nth(1)).toContainText('exit 1')
  await page.keyboard.press('Control+Shift+f')
  await page.getByRole('textbox', { name: 'Find in terminal' }).fill('nowhere')
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    const { violations } = await new AxeBuilder({ page }).analyze()
    expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
  }
  // Round the panes by key: the terminal's keyboard is reached and left.
  await page.keyboard.press('Escape')
  await tabs(page).first().click()
  await expect(panel(page).locator('.xterm-helper-textarea')).toBeFocused()
  await page.keyboard.press('F6')
  await expect(panel(page).locator('.xterm-helper-textarea')).not.toBeFocused()
  await page.keyboard.press('Shift+F6')
  await expect(panel(page).locator('.xterm-helper-textarea')).toBeFocused()
})
