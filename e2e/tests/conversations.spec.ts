// Several conversations in one session: side by side, each with its own messages and questions.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { approval, chat, composer, newSession, said, send, status } from '../session.ts'
import { expect, test } from '../server.ts'

const READY = { name: 'Status: Ready' }

type Conversation = { id: string; title: string; archived: boolean; turn_id: string | null }
type Session = { conversation_id: string; conversations: Conversation[] }

function bar(page: Page) {
  return page.getByRole('button', { name: /^Conversation: / })
}

function list(page: Page) {
  return page.getByRole('dialog', { name: 'Conversations' })
}

async function startAnother(page: Page, text: string) {
  await page.keyboard.press('Control+Shift+k')
  await expect(page.getByRole('heading', { name: 'New conversation' })).toBeVisible()
  await send(page, text)
}

async function goTo(page: Page, title: string | RegExp) {
  await bar(page).click()
  await list(page).getByRole('button', { name: title }).first().click()
  await expect(list(page)).toHaveCount(0)
}

async function axe(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
}

test('two conversations, side by side', async ({ signedIn: page, server }) => {
  test.slow()
  const id = await newSession(page, 'remember the word heron')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await composer(page).fill('a draft of the first')

  // Another one: it says where it will be, and knows nothing of the first.
  await page.keyboard.press('Control+Shift+k')
  await expect(page.getByText(/It starts in/)).toContainText('/workspace')
  await expect(composer(page)).toHaveValue('')
  await expect(composer(page)).toBeFocused()
  await axe(page)
  await send(page, 'what did I ask you to remember?')
  await expect(said(page, /remember nothing/)).toBeVisible()
  await expect(chat(page)).not.toContainText('heron')
  await expect(page).toHaveURL(/conversation=[0-9a-f-]{36}/)
  const second = page.url()
  await composer(page).fill('a draft of the second')

  // Back by the list; each has its own draft, and the address says which one it is.
  await goTo(page, /remember the word heron/)
  await expect(composer(page)).toHaveValue('a draft of the first')
  await expect(chat(page)).toContainText('I will remember: the word heron')
  await expect(chat(page)).not.toContainText('remember nothing')
  await page.goBack()
  await expect(page).toHaveURL(second)
  await expect(composer(page)).toHaveValue('a draft of the second')
  await page.reload()
  await expect(said(page, /remember nothing/)).toBeVisible()
  await expect(composer(page)).toHaveValue('a draft of the second')

  // The first one still knows.
  await goTo(page, /remember the word heron/)
  await send(page, 'what did I ask you to remember?')
  await expect(chat(page).getByText(/You asked me to remember: the word heron/)).toBeVisible()
  const session = await server.api<Session>('GET', `/sessions/${id}`)
  expect(session.conversations.map((conversation) => conversation.title)).toEqual([
    'remember the word heron',
    'what did I ask you to remember?',
  ])
})

test('a question waits in one while another goes on', async ({ signedIn: page, context }) => {
  test.slow()
  await newSession(page, 'run: echo from the first')
  await expect(approval(page)).toContainText('echo from the first')
  await startAnother(page, 'slow stream 20 every 150ms')
  await expect(said(page, /line 3\b/i)).toBeVisible()

  // The first waits, and says so; nothing of it is in the way.
  const elsewhere = page.getByRole('region', { name: 'Waiting elsewhere' })
  await expect(elsewhere).toContainText('run: echo from the first')
  await expect(approval(page)).toHaveCount(0)
  await expect(status(page)).toHaveAccessibleName('Status: Needs you')
  await axe(page)
  await bar(page).click()
  await expect(list(page).getByRole('button', { name: /echo from the first/ }).first()).toContainText('waiting for your answer')
  await axe(page)
  await page.keyboard.press('Escape')

  // A second tab looks at the other one, whatever this one does.
  const other = await context.newPage()
  await other.goto(page.url())
  await goTo(other, /echo from the first/)
  await expect(approval(other)).toContainText('echo from the first')
  await expect(said(page, /line 8\b/i)).toBeVisible()

  await elsewhere.getByRole('button', { name: 'Go there' }).click()
  await approval(page).getByRole('button', { name: /^Approve( Y)?$/ }).click()
  await expect(chat(page)).toContainText('The command ended')
  await expect(approval(other)).toHaveCount(0)

  // The stream was never interrupted.
  await goTo(page, /slow stream/)
  await expect(chat(page).getByText(/line 20\b/i)).toHaveCount(1)
  await expect(page.getByRole('button', READY)).toBeVisible()
})

test('an interrupt ends one turn only', async ({ signedIn: page }) => {
  test.slow()
  await newSession(page, 'slow stream 900 every 100ms')
  await expect(said(page, /line 2\b/i)).toBeVisible()
  await startAnother(page, 'slow stream 25 every 150ms')
  await expect(said(page, /line 2\b/i)).toBeVisible()
  await goTo(page, /slow stream 900/)
  await page.getByRole('button', { name: /^Interrupt/ }).click()
  await expect(chat(page)).toContainText(/interrupted/i)
  await goTo(page, /slow stream 25/)
  await expect(chat(page).getByText(/line 25\b/i)).toHaveCount(1)
})

test('they are named, put aside and brought back', async ({ signedIn: page, server }) => {
  const id = await newSession(page, 'say: one')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await startAnother(page, 'say: two')
  await expect(said(page, /^two/)).toBeVisible()
  await expect(page.getByRole('button', READY)).toBeVisible()

  await bar(page).click()
  await page.getByRole('button', { name: 'Rename “say: two”' }).click()
  const title = page.getByRole('textbox', { name: 'Conversation title' })
  await title.fill('The second')
  await title.press('Enter')
  await expect(list(page).getByRole('button', { name: /The second/ }).first()).toBeVisible()

  // The list is walked with the keyboard.
  await page.keyboard.press('End')
  await expect(list(page).locator(':focus')).toContainText('say: one')
  await page.getByRole('button', { name: 'Archive “say: one”' }).click()
  await expect(page.getByText('Archived “say: one”')).toBeVisible()
  await page.getByRole('button', { name: /^Archived · 1/ }).click()
  await page.getByRole('button', { name: 'Bring back “say: one”' }).click()
  await expect(page.getByRole('button', { name: 'Archive “say: one”' })).toBeVisible()
  await page.getByRole('button', { name: 'Archive “The second”' }).click()
  await page.keyboard.press('Escape')
  await expect(bar(page)).toHaveAccessibleName(/say: one/)
  await expect(page.getByText('Archived “The second”')).toBeVisible()
  await page.getByRole('button', { name: 'Undo' }).last().click()
  await expect
    .poll(async () => (await server.api<Session>('GET', `/sessions/${id}`)).conversations.some(({ archived }) => archived))
    .toBe(false)

  await server.kill()
  await server.start()
  await page.reload()
  await bar(page).click()
  await expect(list(page).getByRole('button', { name: /The second/ }).first()).toBeVisible()
  const { conversations } = await server.api<Session>('GET', `/sessions/${id}`)
  expect(conversations.map(({ title, archived }) => [title, archived])).toEqual([
    ['say: one', false],
    ['The second', false],
  ])
})

test('the runtime’s own interface shows the conversation in view, and what it starts is a conversation', async ({ signedIn: page }) => {
  test.slow()
  const screen = page.locator('main.tui .xterm-rows')
  const type = async (text: string) => {
    await page.locator('main.tui .xterm-helper-textarea').focus()
    await page.keyboard.type(text, { delay: 20 })
  }
  await newSession(page, 'say: the heron')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await startAnother(page, 'say: the kingfisher')
  await expect(said(page, /^the kingfisher/)).toBeVisible()
  await page.keyboard.press('Control+Shift+e')
  await expect(screen).toContainText('the kingfisher')
  await goTo(page, /the heron/)
  await expect(screen).toContainText('the heron')
  await expect(screen).not.toContainText('the kingfisher')

  await type('/new')
  await expect(screen).toContainText('/new')
  await page.keyboard.press('Enter')
  await expect(screen).not.toContainText('the heron')
  await type('say: begun in the tui')
  await expect(screen).toContainText('say: begun in the tui')
  await page.keyboard.press('Enter')
  await expect(screen).toContainText(/• begun in the tui/)
  await goTo(page, /begun in the tui/)
  await page.keyboard.press('Control+Shift+e')
  await expect(said(page, /^begun in the tui/)).toBeVisible()
})

test('each conversation has its own model and effort, and what waits keeps its own', async ({ signedIn: page, server }) => {
  test.slow()
  const id = await newSession(page, 'say: the first')
  await expect(said(page, /^the first$/)).toBeVisible()
  await expect(page.getByRole('button', READY)).toBeVisible()
  const effort = page.getByRole('button', { name: /^Reasoning effort: / })
  const choose = async (name: string) => {
    await effort.click()
    await page.getByRole('menuitemradio', { name: new RegExp(`^${name}`) }).click()
    await expect(effort).toHaveAccessibleName(`Reasoning effort: ${name}`)
  }
  /** What a message says of it on its way. */
  const sent = async (text: string) => {
    const request = page.waitForRequest((asked) => asked.method() === 'POST' && asked.url().endsWith('/messages'))
    await send(page, text)
    return ((await request).postDataJSON() as { effort: string | null }).effort
  }
  await expect(effort).toHaveAccessibleName('Reasoning effort: Medium')
  expect(await sent('say: as it is')).toBe('medium')
  await expect(said(page, /^as it is$/)).toBeVisible()
  await choose('High')

  // Another one goes on with what was chosen here, and from then on they differ.
  await page.keyboard.press('Control+Shift+k')
  await expect(page.getByRole('heading', { name: 'New conversation' })).toBeVisible()
  await expect(effort).toHaveAccessibleName('Reasoning effort: High')
  await choose('Low')
  expect(await sent('say: the second')).toBe('low')
  await expect(said(page, /^the second$/)).toBeVisible()
  await expect(effort).toHaveAccessibleName('Reasoning effort: Low')
  const second = page.url()
  await goTo(page, /say: the first/)
  await expect(effort).toHaveAccessibleName('Reasoning effort: High')
  // It waits for an answer, so that what follows waits too.
  expect(await sent('run: echo waiting')).toBe('high')
  await expect(approval(page)).toContainText('echo waiting')

  // Queued with one, it keeps that one.
  await composer(page).fill('say: later')
  await composer(page).press('Tab')
  await expect(page.getByRole('region', { name: 'Queued messages' })).toContainText('say: later')
  await choose('Medium')
  const queue = await server.api<{ text: string; effort: string }[]>('GET', `/sessions/${id}/messages`)
  expect(queue).toMatchObject([{ text: 'say: later', effort: 'high' }])
  await page.goto(second)
  await expect(effort).toHaveAccessibleName('Reasoning effort: Low')
})

test('a command runs in the conversation that is looked at, or begins one', async ({ signedIn: page, context, server }) => {
  test.slow()
  const id = await newSession(page, 'say: the first')
  await expect(said(page, /^the first$/)).toBeVisible()
  await expect(page.getByRole('button', READY)).toBeVisible()
  const conversations = async () => (await server.api<Session>('GET', `/sessions/${id}`)).conversations
  const first = `${page.url()}?conversation=${(await conversations())[0]?.id}`
  await startAnother(page, 'say: the second')
  await expect(said(page, /^the second$/)).toBeVisible()

  // A link to the first, while the second is the active one.
  const other = await context.newPage()
  await other.goto(first)
  await expect(said(other, /^the first$/)).toBeVisible()
  await composer(other).fill('/review say: of the first')
  await composer(other).press('Enter')
  await expect(said(other, /of the first$/)).toBeVisible()
  await expect(page.getByRole('button', READY)).toBeVisible()
  await expect(chat(page)).not.toContainText('of the first')
  expect(await conversations()).toHaveLength(2)

  // Where nothing was said yet, it begins another one, which comes into view.
  await page.keyboard.press('Control+Shift+k')
  await expect(page.getByRole('heading', { name: 'New conversation' })).toBeVisible()
  await composer(page).fill('/review say: of its own')
  await composer(page).press('Enter')
  await expect(said(page, /of its own$/)).toBeVisible()
  await expect(page).toHaveURL(/conversation=[0-9a-f-]{36}/)
  await expect(chat(page)).not.toContainText('the second')
  expect(await conversations()).toHaveLength(3)
  await expect(chat(other)).not.toContainText('of its own')
})

test.describe('on a phone', () => {
  test.use({ viewport: { width: 390, height: 844 } })

  test('the switcher fits', async ({ signedIn: page }) => {
    await newSession(page, 'say: one')
    await expect(page.getByRole('button', READY)).toBeVisible()
    await page.getByRole('button', { name: 'New conversation', exact: true }).click()
    await send(page, 'say: two')
    await expect(said(page, /^two/)).toBeVisible()
    await bar(page).click()
    await expect(list(page)).toBeInViewport({ ratio: 1 })
    await axe(page)
  })
})

test('what begins here stays in view when the stream is slow to tell of it', async ({ signedIn: page }) => {
  // The answer to what is sent overtakes what the live stream says.
  await page.routeWebSocket(/\/live\?/, (socket) => {
    const server = socket.connectToServer()
    server.onMessage((message) => setTimeout(() => socket.send(message), 700))
  })
  await newSession(page, 'say: the first')
  await expect(page.getByRole('button', READY)).toBeVisible()
  await expect(bar(page)).toHaveAccessibleName(/say: the first/)
  const first = new URL(page.url()).searchParams.get('conversation')
  await composer(page).fill('a draft of the first')
  await page.keyboard.press('Control+Shift+k')
  await expect(page.getByRole('heading', { name: 'New conversation' })).toBeVisible()
  await expect(composer(page)).toHaveValue('')
  await send(page, 'say: the second')
  await expect(said(page, /^the second$/)).toBeVisible()
  await expect(bar(page)).toHaveAccessibleName(/say: the second/)
  expect(new URL(page.url()).searchParams.get('conversation')).not.toBe(first)
  await expect(chat(page)).not.toContainText('the first')
  await goTo(page, /say: the first/)
  await expect(composer(page)).toHaveValue('a draft of the first')
})
