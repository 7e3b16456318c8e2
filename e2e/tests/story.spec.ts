// The whole story, as a person lives it: a real repository, a real agent, approvals, steering.

import { approval, approveUntil, chat, composer, newSession, said, send, status } from '../session.ts'
import { expect, test } from '../server.ts'

test('a failing test is fixed while a person watches, approves and steers', async ({ signedIn: page, server }) => {
  // The demo repository of a first run is on offer, and nothing needs to be configured.
  await page.goto(`${server.url}/new`)
  await expect(page.getByText('Demo model (scripted)')).toBeVisible()
  await expect(page.getByRole('combobox', { name: 'Repository' })).toHaveValue(`${server.dataDir}/demo`)

  const id = await newSession(page, 'Fix the failing test')
  // Typing is possible at once, whatever the sandbox still does.
  await composer(page).fill('And be brief')
  await expect(composer(page)).toHaveValue('And be brief')
  await composer(page).fill('')

  await expect(approval(page)).toContainText('Run this command?')
  await expect(status(page)).toHaveAccessibleName('Status: Needs you')
  await expect(page).toHaveTitle(/Fix the failing test/)

  await approveUntil(page, page.getByRole('button', { name: 'Status: Ready' }))

  // It was really done: the tests of the repository pass in the sandbox.
  const output = server.cli('session', 'exec', id, '--', 'node', '--test')
  expect(output).toContain('# fail 0')
  expect(server.cli('session', 'exec', id, '--', 'git', 'diff', '--stat')).toContain('src/retry.js')

  await send(page, 'say: that was quick')
  await expect(said(page, 'that was quick')).toBeVisible()
})

test('a message steers the running turn, another one waits for the next', async ({ signedIn: page }) => {
  await newSession(page, 'slow stream 300 every 100ms')
  await expect(status(page)).toHaveAccessibleName('Status: Working')
  await expect(chat(page).getByText(/line 2/i).first()).toBeVisible()

  await composer(page).fill('say: queued answer')
  await composer(page).press('Control+Enter')
  const queue = page.getByRole('region', { name: 'Queued messages' })
  await expect(queue).toContainText('queued answer')

  await send(page, 'look at the retries too')
  await expect(said(page, /You added: .look at the retries too/)).toBeVisible()
  // The queued one goes when the turn is over.
  await expect(queue).toBeHidden()
  await expect(chat(page).getByText('queued answer', { exact: true }).first()).toBeVisible()
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
})

test('a declined command is not run, and the agent is told why', async ({ signedIn: page, server }) => {
  const id = await newSession(page, 'run: touch /tmp/declined')
  const card = approval(page)
  await expect(card).toContainText('touch /tmp/declined')
  await card.getByRole('button', { name: /Decline and say/ }).click()
  const instead = page.getByRole('textbox', { name: 'What should the agent do instead?' })
  await expect(instead).toBeFocused()
  await instead.fill('leave the disk')
  // The words stay while the card is not drawn: the bar has them when it is out of view, the card after a reload.
  await page.setViewportSize({ width: 1440, height: 260 })
  const inBar = page.getByRole('region', { name: 'Waiting approval' })
  await expect(inBar.getByRole('textbox')).toHaveValue('leave the disk')
  await page.setViewportSize({ width: 1440, height: 900 })
  await page.reload()
  await expect(card.getByRole('textbox')).toHaveValue('leave the disk')
  await expect(instead).toHaveCount(1)
  await instead.fill('leave the disk alone')
  await instead.press('Enter')
  await expect(approval(page)).toHaveCount(0)
  await expect(chat(page)).toContainText('leave the disk alone')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  const found = server.cli('session', 'exec', id, '--', 'sh', '-c', 'ls /tmp/declined 2>&1 || true')
  expect(found).toContain('No such file')
})

test('edits show their lines, and every approval is answered with the keyboard', async ({ signedIn: page, server }) => {
  const id = await newSession(page, 'create notes.txt: by the agent')
  const card = approval(page)
  const line = (kind: string) => card.locator(`tr.${kind}`)
  const answers = (name: string) => card.getByRole('button', { name, exact: true })
  await expect(card).toContainText('Make this edit?')
  await expect(line('add')).toHaveText(/by the agent/)

  // While one writes a letter is a letter, and the buttons say what works there.
  await composer(page).pressSequentially('yan')
  await expect(composer(page)).toHaveValue('yan')
  await expect(answers('Approve')).toHaveText(/^Approve\s*Alt\s*Y$/, { useInnerText: true })
  await page.keyboard.press('Alt+y')
  const file = chat(page).locator('.file-card')
  await expect(file).toContainText('notes.txt')
  await expect(file.locator('tr.add')).toHaveText(/by the agent/)
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  expect(server.cli('session', 'exec', id, '--', 'cat', 'notes.txt')).toBe('by the agent\n')

  await send(page, 'edit notes.txt: by the agent => by nobody')
  await expect(line('remove')).toHaveText(/by the agent/)
  await expect(line('add')).toHaveText(/by nobody/)
  await chat(page).focus()
  await expect(answers('Decline')).toHaveText(/^Decline\s*N$/, { useInnerText: true })
  await page.keyboard.press('n')
  await expect(said(page, /You declined the edit/)).toBeVisible()
  expect(server.cli('session', 'exec', id, '--', 'cat', 'notes.txt')).toBe('by the agent\n')

  await send(page, 'run 3 times: echo again')
  await expect(card).toContainText('echo again')
  await chat(page).focus()
  await page.keyboard.press('a')
  await expect(said(page, /All 3 runs ended/)).toBeVisible()
  await expect(chat(page)).toContainText(/Ran 3 commands/)

  // A card that something else hides is not answered by accident.
  await send(page, 'run: echo seen')
  await expect(card).toContainText('echo seen')
  await page.keyboard.press('Control+Shift+e')
  await expect(card).toHaveCount(0)
  await page.getByRole('button', { name: /^Status/ }).focus()
  await page.keyboard.press('y')
  await page.keyboard.press('Alt+y')
  await page.keyboard.press('Control+Shift+e')
  await expect(card).toContainText('echo seen')
  await chat(page).focus()
  await page.keyboard.press('y')
  await expect(said(page, /The command ended/)).toBeVisible()
})

test.describe('an agent that asks nothing', () => {
  test.use({ setup: { policy: 'autonomous' } })

  test('what it does is read at leisure', async ({ signedIn: page, context }) => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write'])
    await newSession(page, 'run: echo the reason; exit 3')
    // What failed is open.
    const failed = chat(page).getByRole('button', { name: /echo the reason.*exit code 3/ })
    await expect(failed).toHaveAttribute('aria-expanded', 'true')
    await expect(chat(page).locator('.work-output')).toHaveText('the reason')
    await expect(status(page)).toHaveAccessibleName('Status: Ready')

    // What it thought is folded.
    await send(page, 'think: of a heron')
    await expect(said(page, 'I thought about it.')).toBeVisible()
    const thought = chat(page).getByRole('button', { name: /^Thought/ })
    await expect(thought).toHaveAttribute('aria-expanded', 'false')
    await expect(chat(page).locator('.work-thought')).toHaveCount(0)
    await thought.click()
    await chat(page).locator('.work-step').getByRole('button', { name: 'Thought' }).last().click()
    await expect(chat(page).locator('.work-thought')).toHaveText('of a heron')

    await send(page, 'markdown')
    // Its end: until then the last code of the page is another answer's.
    await expect(chat(page).getByText('<b>Markup stays text.</b>')).toBeVisible()
    await page.getByRole('button', { name: 'Copy code' }).last().click()
    const copied = () => page.evaluate(() => navigator.clipboard.readText())
    await expect.poll(copied).toBe('export const answer = (question) => (question ? 42 : undefined);')
    await expect(status(page)).toHaveAccessibleName('Status: Ready')

    // Who reads stays where they read, and comes back in one step.
    await send(page, 'slow stream 150 every 100ms')
    await expect(said(page, /Line 40 of 150/)).toBeVisible()
    await chat(page).hover()
    await page.mouse.wheel(0, -150)
    const latest = page.getByRole('button', { name: /^Jump to latest/ })
    await expect(latest).toBeVisible()
    const place = () => chat(page).evaluate((log) => log.scrollTop)
    const before = await place()
    await expect(said(page, /Line 80 of 150/)).toBeAttached()
    expect(await place()).toBe(before)
    await latest.click()
    await expect(latest).toBeHidden()
    await expect(said(page, /Line 150 of 150/)).toBeInViewport()
    await expect(latest).toBeHidden()
  })
})

test('a turn is interrupted, and the session goes on', async ({ signedIn: page }) => {
  await newSession(page, 'slow stream 900 every 100ms')
  await expect(chat(page).getByText(/line 2/i).first()).toBeVisible()
  await composer(page).press('Escape')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  await expect(chat(page)).toContainText(/interrupted/i)
  await send(page, 'say: still here')
  await expect(said(page, 'still here')).toBeVisible()
})
