// Terminals as a person uses them: tabs, names, exit codes, and nothing lost whatever dies or floods.

import { AxeBuilder } from '../axe.ts'
import type { Browser, BrowserContext, Locator, Page } from '@playwright/test'
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

/** The session's terminals as the server tells them. */
function terminals(server: Server, session: string) {
  return server.api<{ id: string; cols: number; offset: number }[]>('GET', `/sessions/${session}/terminals`)
}

/** Puts the mouse on a text of the screen. xterm.js listens below its rows, which get no clicks themselves. */
async function pointAt(page: Page, text: Locator) {
  await expect(text).toBeVisible()
  const box = (await text.boundingBox())!
  const [x, y] = [box.x + 12, box.y + box.height / 2]
  await page.mouse.move(x, y)
  return { click: (options?: { clickCount: number }) => page.mouse.click(x, y, options) }
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
  // The keyboard is in the new one at once.
  await page.keyboard.type('echo "in $((20 + 2))"\n')
  await expect(tabs(page)).toHaveCount(2)
  await expect(tabs(page).nth(1)).toHaveAttribute('aria-selected', 'true')
  await expect(screen(page)).toContainText('in 22')
  await expect(screen(page)).not.toContainText('in 21')

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
  await expect(screen(page)).toContainText('demo')
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
  const size = async () => (await terminals(server, id))[0]!.cols
  const before = await size()
  await other.setViewportSize({ width: 1000, height: 700 })
  await expect.poll(size).toBeLessThan(before)
  await type(other, 'clear; echo "narrow $(stty size)"\n')
  const narrow = await columns(other, 'narrow')
  await type(page, 'clear; echo "wide $(stty size)"\n')
  expect(await columns(page, 'wide')).toBeGreaterThan(narrow)

  // Closed in one, it is gone in the other, which opens another one in its place.
  await type(page, 'echo "mark of $KEPT"\n')
  for (const viewer of [page, other]) await expect(screen(viewer)).toContainText('mark of both')
  const [closed] = await terminals(server, id)
  await tabs(other).first().press('Delete')
  await expect(screen(page)).not.toContainText('mark of both')
  await expect(screen(page)).toContainText('demo')
  const left = await terminals(server, id)
  expect(left.map((terminal) => terminal.id)).not.toContain(closed!.id)
  expect(left).toHaveLength(1)
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

test('a flood stalls neither the page nor another terminal', async ({ signedIn: page, server }) => {
  const id = await open(page)
  const flooded = async () => (await terminals(server, id))[0]!.offset
  await type(page, 'yes flood\n')
  await expect(screen(page)).toContainText('flood')
  // The conversation beside it takes keys as they come.
  await composer(page).focus()
  await composer(page).pressSequentially('typed beside a flood')
  await expect(composer(page)).toHaveValue('typed beside a flood')

  await page.keyboard.press('Control+Shift+Backquote')
  await expect(tabs(page)).toHaveCount(2)
  await expect(screen(page)).toContainText('demo')
  const before = await flooded()
  await expect.poll(flooded).toBeGreaterThan(before)
  await page.keyboard.type('echo "calm $((40 + 2))"\n')
  await expect(screen(page)).toContainText('calm 42')
  // It was answered within the flood, which goes on after it.
  const answered = await flooded()
  await expect.poll(flooded).toBeGreaterThan(answered)

  // Ctrl-C is heard at once, and the page holds no backlog that goes on scrolling.
  await tabs(page).first().click()
  await expect(screen(page)).toContainText('flood')
  await page.keyboard.press('Control+c')
  await page.keyboard.type('echo "over $((1 + 1))"\n')
  await expect(screen(page)).toContainText('over 2')
})

test('a full-screen program is there again after a reload, whatever it has said since it began', async ({
  signedIn: page,
  server,
}) => {
  const id = await open(page)
  // Its frame is drawn once, at the beginning; then more than the sandbox keeps.
  // What it says is put together, because the command is on the screen too.
  const program = `echo "kept $((40 + 2))"; awk 'BEGIN {
    printf "\\033[?1049h\\033[?1002h\\033[?1006h\\033[1;1H\\033[48;2;10;120;30mthe %s\\033[0m", "frame";
    for (i = 0; i < 90000; i++) printf "\\033[3;1H\\033[1mstep %d of very much work\\033[0m\\033[K", i;
    printf "\\033[5;1Hall %s", "painted";
  }'; read -rs; printf '\\e[?1006l\\e[?1002l\\e[?1049l'`
  await type(page, `${program.replace(/\n\s*/g, ' ')}\n`)
  await expect(screen(page)).toContainText('all painted')
  expect((await terminals(server, id))[0]!.offset).toBeGreaterThan(3 * 1024 * 1024)

  await page.reload()
  await expect(screen(page)).toContainText('all painted')
  await expect(screen(page)).toContainText('step 89999 of very much work')
  await expect(screen(page).getByText('the frame')).toHaveCSS('background-color', 'rgb(10, 120, 30)')
  await expect(panel(page).locator('.xterm')).toHaveClass(/enable-mouse-events/)
  await expect(screen(page)).not.toContainText('kept 42')

  // The screen that was there before it comes back with its end.
  await type(page, '\n')
  await expect(screen(page)).toContainText('kept 42')
  await expect(screen(page)).not.toContainText('the frame')
  await expect(panel(page).locator('.xterm')).not.toHaveClass(/enable-mouse-events/)
})

test('links open the web alone, and only on purpose', async ({ signedIn: page, context }) => {
  await open(page)
  const opened: string[] = []
  context.on('page', (other) => opened.push(other.url()))
  const web = new URL('/healthz', page.url()).href
  const hidden = (url: string, text: string) => `\\e]8;;${url}\\e\\\\${text}\\e]8;;\\e\\\\\\n`
  await type(
    page,
    `clear; printf '${hidden('javascript:document.title=1', 'a-script')}${hidden('file:///etc/passwd', 'a-file')}${hidden(web, 'a-page')}'; echo "${web}?plain"; read -rs\n`,
  )
  const hint = page.locator('.terminal-host')
  const at = (text: string) => pointAt(page, screen(page).getByText(text, { exact: true }))
  const onPurpose = async (text: string) => {
    const there = await at(text)
    await page.keyboard.down('Control')
    await there.click()
    await page.keyboard.up('Control')
  }
  for (const refused of ['a-script', 'a-file']) await onPurpose(refused)
  // A plain click selects.
  const plain = `${web}?plain`
  for (const [text, url] of [['a-page', web], [plain, plain]] as const) {
    const there = await at(text)
    await expect(hint).toHaveAttribute('title', /click opens the link/)
    await there.click()
    const other = context.waitForEvent('page')
    await onPurpose(text)
    await (await other).waitForURL(url)
  }
  expect(opened).toHaveLength(2)
})

test('text is copied and pasted by the keys of terminals', async ({ signedIn: page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await open(page)
  await type(page, 'clear; echo "a-$((40 + 2))-word of it"\n')
  await (await pointAt(page, screen(page).getByText('a-42-word of it', { exact: true }))).click({ clickCount: 2 })
  await page.keyboard.press('Control+Shift+c')
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe('a-42-word')

  // A program that asks for it is told what was pasted, and can't be made to take it for typed.
  await type(page, `clear; printf '\\e[?2004h'; echo "asks $((1 + 1))"; cat -v\n`)
  await expect(screen(page)).toContainText('asks 2')
  await page.evaluate(() => navigator.clipboard.writeText('one\x1b[201~two'))
  await page.keyboard.press('Control+Shift+v')
  await expect(screen(page)).toContainText('^[[200~one[201~two^[[201~')

  // The menu does the same for those who know no keys.
  await page.evaluate(() => navigator.clipboard.writeText(' by the menu'))
  await page.getByRole('button', { name: 'Terminal menu' }).click()
  await page.getByRole('menuitem', { name: /Paste into terminal/ }).click()
  await expect(screen(page)).toContainText('^[[200~ by the menu^[[201~')
})

test('colours, wide characters and the mouse are a real terminal’s', async ({ signedIn: page }) => {
  await open(page)
  await type(page, `clear; printf '\\e[48;2;10;120;30mtwenty-four bits\\e[0m\\n'\n`)
  await expect(screen(page).getByText('twenty-four bits', { exact: true })).toHaveCSS(
    'background-color',
    'rgb(10, 120, 30)',
  )
  // The terminal says where its cursor is after an emoji and after a Chinese character.
  for (const [name, wide] of [['thumb', '👍'], ['han', '漢']]) {
    await type(page, `clear; printf '\\r${wide}\\e[6n'; IFS=';' read -rsd R -t 60 _ column; echo; echo "${name} at <$column>"\n`)
    await expect(screen(page)).toContainText(`${name} at <3>`)
  }
  await type(page, `clear; printf '\\e[?1000h\\e[?1006h'; echo "click $((1 + 1))"; cat -v\n`)
  await (await pointAt(page, screen(page).getByText('click 2', { exact: true }))).click()
  await type(page, '\n')
  await expect(screen(page)).toContainText(/\^\[\[<0;\d+;\d+M\^\[\[<0;\d+;\d+m/)
})

test('a screen measures the letters that it is drawn with, however late they come', async ({ signedIn: page }) => {
  let arrive = () => {}
  const fonts = new Promise<void>((resolve) => {
    arrive = resolve
  })
  await page.route(/jetbrains-mono[^/]*\.woff2/, async (route) => {
    await fonts
    await route.continue()
  })
  const code = page.waitForResponse(/TerminalView[^/]*\.js/)
  await page.reload()
  await newSession(page, 'say: hello')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await page.keyboard.press('Control+j')
  await expect(tabs(page)).toHaveCount(1)
  await (await code).finished()
  // Time to be drawn without them.
  await page.evaluate(async () => {
    for (let frame = 0; frame < 30; frame++) await new Promise(requestAnimationFrame)
  })
  await expect(screen(page)).toHaveCount(0)
  arrive()
  await expect(screen(page)).toContainText('demo')
  // Letters of another width than the screen's columns would be drawn word by word, each with its own spacing.
  await expect(screen(page).locator('[style*=letter-spacing]')).toHaveCount(0)
})

test('the terminal’s height is changed by pointer and key, and kept for its session', async ({ signedIn: page }) => {
  await open(page)
  const line = page.getByRole('separator', { name: 'Terminal height' })
  const height = async () => Number(await line.getAttribute('aria-valuenow'))
  const area = page.getByRole('region', { name: 'Terminal' })
  const first = await height()
  const box = (await line.boundingBox())!
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2 - 100)
  await page.mouse.up()
  expect(await height()).toBe(first + 100)
  await line.press('ArrowUp')
  expect(await height()).toBe(first + 124)
  const tall = (await area.boundingBox())!.height

  await page.reload()
  await expect(screen(page)).toContainText('demo')
  expect(await height()).toBe(first + 124)
  expect((await area.boundingBox())!.height).toBe(tall)

  await newSession(page, 'say: hello')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await page.keyboard.press('Control+j')
  expect(await height()).toBe(first)
})

test('terminals are written out for a screen reader when that is switched on', async ({ signedIn: page }) => {
  await open(page)
  const switched = async (what: string) => {
    await page.getByRole('button', { name: 'Terminal menu' }).click()
    await page.getByRole('menuitem', { name: `Turn ${what} screen reader mode of terminals` }).click()
  }
  const read = panel(page).locator('.xterm-accessibility')
  await expect(read).toHaveCount(0)
  await switched('on')
  await type(page, 'echo "heard $((40 + 2))"\n')
  await expect(read.getByText('heard 42', { exact: true })).toHaveCount(1)
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])

  await page.reload()
  await expect(read.getByText('heard 42', { exact: true })).toHaveCount(1)
  await switched('off')
  await expect(read).toHaveCount(0)
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

test('without a sandbox that runs the terminal says so and starts it', async ({ signedIn: page, context, server }) => {
  test.slow()
  const id = await open(page)
  const other = await context.newPage()
  await other.goto(page.url())
  await expect(tabs(other)).toHaveCount(1)
  await page.getByRole('button', { name: 'Session menu' }).click()
  await page.getByRole('menuitem', { name: 'Stop' }).click()
  const area = page.getByRole('region', { name: 'Terminal' })
  await expect(area).toContainText('Terminals are in the sandbox, which does not run.')
  await expect(area.getByRole('button', { name: 'The sandbox does not run' })).toBeVisible()
  await area.getByRole('button', { name: 'Start' }).click()
  // Both pages show their terminals, and open the first one together.
  await Promise.all([page, other].map((each) => expect(screen(each)).toContainText('demo')))
  expect(await terminals(server, id)).toHaveLength(1)
  await expect(tabs(page)).toHaveCount(1)
  await other.close()
})

test('tabs, search and ended shells are accessible', async ({ signedIn: page }) => {
  await open(page)
  await page.keyboard.press('Control+Shift+Backquote')
  // The new one is in view before its keys are typed.
  await expect(tabs(page).nth(1)).toHaveAttribute('aria-selected', 'true')
  await expect(screen(page)).toContainText('demo')
  await type(page, 'exit 1\n')
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
