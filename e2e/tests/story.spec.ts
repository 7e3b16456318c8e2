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
  await page.getByRole('textbox', { name: 'What should the agent do instead?' }).fill('leave the disk alone')
  await page.keyboard.press('Enter')
  await expect(approval(page)).toHaveCount(0)
  await expect(chat(page)).toContainText('leave the disk alone')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  const found = server.cli('session', 'exec', id, '--', 'sh', '-c', 'ls /tmp/declined 2>&1 || true')
  expect(found).toContain('No such file')
})

test('an approval for the session is asked once, with the keyboard', async ({ signedIn: page }) => {
  await newSession(page, 'run 3 times: echo again')
  await expect(approval(page)).toContainText('echo again')
  await page.getByRole('log').focus()
  await page.keyboard.press('a')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  await expect(chat(page)).toContainText(/Ran 3 commands/)
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
