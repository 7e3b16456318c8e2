// Nothing is lost: reloads, second tabs, stops, and a server that is killed.

import type { Page } from '@playwright/test'
import { approval, approveUntil, chat, composer, newSession, queue, said, send, status } from '../session.ts'
import { expect, type Server, test } from '../server.ts'

const READY = { name: 'Status: Ready' }

type Body = { kind: string; text?: string; output?: string }
type Event = { seq: number; event: { type: string; item?: { body: Body } } }

/** The session's record, as the server keeps it. */
async function record(server: Server, id: string) {
  const { data } = await server.api<{ data: Event[] }>('GET', `/sessions/${id}/events?limit=500`)
  return data
}

function completed(events: Event[]) {
  return events.flatMap(({ event }) => (event.type === 'item.completed' && event.item ? [event.item.body] : []))
}

test('a reload in mid-turn shows everything and goes on', async ({ signedIn: page }) => {
  await newSession(page, 'slow stream 30 every 100ms')
  await expect(chat(page).getByText(/line 5\b/i).first()).toBeVisible()
  await composer(page).fill('a draft')
  await page.reload()
  await expect(composer(page)).toHaveValue('a draft')
  await expect(chat(page).getByText(/line 1\b/i).first()).toBeVisible()
  await expect(page.getByRole('button', READY)).toBeVisible()
  await expect(chat(page).getByText(/line 30\b/i)).toHaveCount(1)
  await expect(chat(page).getByText('slow stream 30 every 100ms')).toHaveCount(1)
})

test('two tabs are in step', async ({ signedIn: page, context }) => {
  await newSession(page, 'run: echo both')
  const second = await context.newPage()
  await second.goto(page.url())
  await expect(approval(second)).toContainText('echo both')
  await approval(second).getByRole('button', { name: /^Approve( Y)?$/ }).click()
  await expect(approval(page)).toHaveCount(0)
  for (const tab of [page, second]) await expect(tab.getByRole('button', READY)).toBeVisible()
  await send(page, 'say: from the first tab')
  await expect(said(second, 'from the first tab')).toBeVisible()
})

test('stop and start keep the disk and the conversation', async ({ signedIn: page, server }) => {
  test.slow()
  const id = await newSession(page, 'remember the word mistletoe')
  await expect(page.getByRole('button', READY)).toBeVisible()
  server.cli('session', 'exec', id, '--', 'sh', '-c', 'echo kept > /root/kept')

  await page.getByRole('button', { name: 'Session menu' }).click()
  await page.getByRole('menuitem', { name: 'Stop' }).click()
  await expect(page.getByRole('button', { name: 'Status: Stopped' })).toBeVisible()
  // What was said is readable while nothing runs.
  await page.reload()
  await expect(chat(page)).toContainText('mistletoe')

  await page.getByRole('region', { name: 'Stopped' }).getByRole('button', { name: 'Start' }).click()
  await expect(page.getByRole('button', READY)).toBeVisible()
  expect(server.cli('session', 'exec', id, '--', 'cat', '/root/kept')).toBe('kept\n')
  await send(page, 'what did I ask you to remember?')
  await expect(chat(page).getByText(/the word mistletoe/).last()).toBeVisible()
  await expect(chat(page)).toContainText('what did I ask you to remember?')
})

test.describe('an agent that asks nothing', () => {
  test.use({ setup: { policy: 'autonomous' } })

  test('a server killed in mid-turn and started again loses and doubles nothing', async ({ signedIn: page, server }) => {
    test.slow()
    const id = await newSession(page, 'run: for i in $(seq 1 40); do echo tick $i; sleep 0.2; done')
    await expect(chat(page).getByText(/tick 3\b/).first()).toBeVisible()
    await server.kill()
    // The page stays readable and the composer keeps accepting.
    await expect(page.getByText(/Reconnecting/i).first()).toBeVisible()
    await composer(page).fill('typed while the server was away')
    await server.start()
    await expect(composer(page)).toHaveValue('typed while the server was away')
    await expect(page.getByRole('button', READY)).toBeVisible()

    const events = await record(server, id)
    expect(events.map((event) => event.seq)).toEqual([...new Set(events.map((event) => event.seq))])
    const bodies = completed(events)
    expect(bodies.filter((body) => body.kind === 'user_message')).toHaveLength(1)
    const commands = bodies.filter((body) => body.kind === 'command')
    expect(commands).toHaveLength(1)
    expect(commands[0]!.output!.match(/tick \d+/g)).toEqual(Array.from({ length: 40 }, (_, i) => `tick ${i + 1}`))
  })

  test('messages sent while the server is away arrive once and in their order, whatever becomes of the page', async ({
    signedIn: page,
    server,
    context,
  }) => {
    test.slow()
    const id = await newSession(page, 'say: hello')
    await expect(page.getByRole('button', READY)).toBeVisible()
    const session = page.url()
    const told = async () =>
      completed(await record(server, id))
        .filter(({ kind }) => kind === 'user_message')
        .map(({ text }) => text)
    const unsent = (of: Page) =>
      of.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith('mistle:unsent:')))

    // The page stays.
    await server.kill()
    await send(page, 'say: into the dark')
    await server.start()
    await expect(said(page, 'into the dark')).toBeVisible()
    await expect(page.getByRole('button', READY)).toBeVisible()

    // It is left, and opened again twice: both may send what was written.
    await server.kill()
    await send(page, 'say: the first')
    await send(page, 'say: the second')
    await expect(chat(page).getByText('say: the second')).toBeVisible()
    await expect(composer(page)).toHaveValue('')
    await page.goto('about:blank')
    await server.start()
    const other = await context.newPage()
    await Promise.all([page.goto(session), other.goto(session)])
    for (const tab of [page, other]) await expect(said(tab, 'the second')).toBeVisible()
    await expect(page.getByRole('button', READY)).toBeVisible()
    expect(await told()).toEqual(['say: hello', 'say: into the dark', 'say: the first', 'say: the second'])
    await other.close()

    // Whatever page of the server is opened first.
    await server.kill()
    await send(page, 'say: the third')
    await expect(chat(page).getByText('say: the third')).toBeVisible()
    await page.goto('about:blank')
    await server.start()
    await page.goto(`${server.url}/settings`)
    await expect.poll(told).toContain('say: the third')
    expect((await told()).length).toBe(5)
    await expect.poll(() => unsent(page)).toEqual([])
  })

  test('what is queued goes in its order after a killed server', async ({ signedIn: page, server }) => {
    test.slow()
    const id = await newSession(page, 'run: sleep 600')
    await expect(status(page)).toHaveAccessibleName('Status: Working')
    for (const text of ['say: alpha', 'say: beta']) {
      await composer(page).fill(text)
      await composer(page).press('Tab')
    }
    const waiting = queue(page).getByRole('listitem')
    await expect(waiting).toHaveText([/alpha/, /beta/])
    await server.kill()
    await server.start()
    await expect(page.getByText(/Reconnecting/i)).toHaveCount(0)
    await expect(waiting).toHaveText([/alpha/, /beta/])
    await page.getByRole('button', { name: /^Interrupt/ }).click()
    await expect(said(page, 'beta')).toBeVisible()
    await expect(queue(page)).toBeHidden()
    await expect(page.getByRole('button', READY)).toBeVisible()
    const answers = completed(await record(server, id)).flatMap(({ kind, text }) =>
      kind === 'agent_message' ? [text?.trim()] : [],
    )
    expect(answers).toEqual(['alpha', 'beta'])
  })
})

test('an approval that waits survives a killed server', async ({ signedIn: page, server }) => {
  await newSession(page, 'run: echo survived')
  await expect(approval(page)).toContainText('echo survived')
  await server.kill()
  await server.start()
  await expect(approval(page)).toContainText('echo survived')
  await approveUntil(page, page.getByRole('button', READY))
  await expect(chat(page)).toContainText('survived')
})

test('a question is asked again when the agent’s process died', async ({ signedIn: page, server }) => {
  test.slow()
  const id = await newSession(page, 'run: echo once >> /root/log')
  await expect(approval(page)).toContainText('echo once')
  server.cli('session', 'exec', id, '--', 'sh', '-c', 'kill -9 $(pidof codex)')
  // What happened is said, and the question stands again.
  await expect(chat(page)).toContainText('goes on from there and asks again')
  await expect(approval(page)).toContainText('echo once')
  await approveUntil(page, page.getByRole('button', READY))
  await expect(chat(page)).toContainText('The command ended')
  expect(server.cli('session', 'exec', id, '--', 'cat', '/root/log')).toBe('once\n')
  await expect(chat(page).getByText('run: echo once >> /root/log')).toHaveCount(1)
})

test('the terminal is there, and is still the same after a reload', async ({ signedIn: page }) => {
  await newSession(page, 'say: hello')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await page.keyboard.press('Control+j')
  const screen = page.locator('.xterm-rows')
  await expect(screen).toContainText('demo')
  await page.locator('.xterm-helper-textarea').focus()
  await page.keyboard.type('KEPT=yes; echo "kept: $KEPT"\n')
  await expect(screen).toContainText('kept: yes')
  await page.reload()
  await expect(screen).toContainText('kept: yes')
  await page.locator('.xterm-helper-textarea').focus()
  await page.keyboard.type('echo "still: $KEPT"\n')
  await expect(screen).toContainText('still: yes')
})
