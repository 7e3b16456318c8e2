// Wrong input and broken surroundings: a clear answer, a next action, and nothing lost.

import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { chat, composer, newSession, said, send, status } from '../session.ts'
import { expect, test } from '../server.ts'

test('a repository that is not there, or is none, is refused where it was typed', async ({ signedIn: page, server }) => {
  const plain = join(server.outside, 'plain')
  mkdirSync(plain)
  await page.goto(`${server.url}/new`)
  for (const [path, words] of [
    [join(server.outside, 'nowhere'), /there is no folder/i],
    [plain, /not a git repository/i],
  ] as const) {
    await page.getByRole('combobox', { name: 'Repository' }).fill(path)
    const task = page.getByRole('textbox', { name: /task/i })
    await task.fill('Fix the failing test')
    await task.press('Enter')
    await expect(page.getByText(words).first()).toBeVisible()
    await expect(page).toHaveURL(/\/new/)
    await expect(task).toHaveValue('Fix the failing test')
  }
})

test('an empty task is not started', async ({ signedIn: page, server }) => {
  await page.goto(`${server.url}/new`)
  await page.getByRole('textbox', { name: /task/i }).press('Enter')
  await expect(page).toHaveURL(/\/new/)
  await expect(page.getByText('Describe what the agent should do.')).toBeVisible()
})

test('a model that fails ends the turn in our words, and the session goes on', async ({ signedIn: page }) => {
  test.slow()
  await newSession(page, 'fail 401')
  const failed = page.getByRole('region', { name: 'Turn failed' }).last()
  await expect(failed).toContainText(
    "The provider refused the key. Correct it in the server's configuration, then try again.",
    { timeout: 90_000 },
  )
  await expect(failed.getByRole('button', { name: 'Try again' })).toBeEnabled()
  await send(page, 'cut 4')
  await expect(failed).toContainText('The answer broke off. What was done so far is kept.', { timeout: 90_000 })
  await expect(failed.getByRole('button', { name: 'Try again' })).toBeEnabled()
  await send(page, 'say: back again')
  await expect(said(page, 'back again')).toBeVisible()

  // A conversation without room is shortened, or another one is begun.
  await send(page, 'fail context')
  await expect(failed).toContainText('The conversation no longer fits into the model.')
  await expect(failed.getByRole('button', { name: 'Try again' })).toHaveCount(0)
  await failed.getByRole('button', { name: 'Shorten it' }).click()
  await expect(chat(page)).toContainText('Context compacted')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  await failed.getByRole('button', { name: 'New conversation' }).click()
  await expect(page.getByRole('heading', { name: 'New conversation' })).toBeVisible()
  await expect(composer(page)).toBeFocused()
})

test('a session whose sandbox died says so, and is started again', async ({ signedIn: page, server }) => {
  test.slow()
  await newSession(page, 'remember the word heron')
  await expect(said(page, /I will remember/)).toBeVisible()
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  server.killSandboxes()
  const failed = page.getByRole('alert', { name: 'Failed' })
  await expect(failed).toContainText('The session failed')
  await expect(failed).toContainText('Its disk is kept: start the session again.')
  await expect(status(page)).toHaveAccessibleName('Status: Failed')
  await failed.getByRole('button', { name: 'Start again' }).click()
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  await expect(failed).toHaveCount(0)
  await send(page, 'what did I ask you to remember?')
  await expect(said(page, /You asked me to remember: the word heron/)).toBeVisible()
})

test.describe('a provider that is not there', () => {
  test.use({
    setup: {
      config: `
[providers.gone]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "sk-test-not-a-key"
[egress]
allow_private = ["127.0.0.1:9"]
[[profiles]]
name = "default"
provider = "gone"
`,
    },
  })

  test('says that the model is unreachable', async ({ signedIn: page, server }) => {
    test.slow()
    const folder = server.repository('project', { 'README.md': '# Project\n' })
    await newSession(page, 'Say hello', folder)
    const failed = page.getByRole('region', { name: 'Turn failed' })
    await expect(failed).toContainText(
      "The model's server did not answer. Check the provider in the server's configuration, then try again.",
      { timeout: 100_000 },
    )
    await expect(failed.getByRole('button', { name: 'Try again' })).toBeEnabled()
    await expect(page.getByText('sk-test-not-a-key')).toHaveCount(0)
  })
})

test.describe('a small disk', () => {
  test.use({
    // Sandboxes' disks on a file system of their own, which is soon full.
    setup: {
      policy: 'autonomous',
      prepare: (dataDir) => {
        mkdirSync(join(dataDir, 'embedded'))
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', join(dataDir, 'embedded')])
        return () => execFileSync('umount', ['--lazy', join(dataDir, 'embedded')])
      },
    },
  })

  test('that is full is named, loses nothing, and is usable again once there is space', async ({ signedIn: page, server }) => {
    test.slow()
    const id = await newSession(page, 'say: hello')
    await expect(status(page)).toHaveAccessibleName('Status: Ready')
    const fill = 'dd if=/dev/zero of=/root/fill bs=1M 2>&1 || true'
    expect(server.cli('session', 'exec', id, '--', 'sh', '-c', fill)).toContain('No space left on device')
    await send(page, 'say: in spite of it')
    await expect(page.getByText(/disk is full/i).first()).toBeVisible()
    server.cli('session', 'exec', id, '--', 'rm', '/root/fill')
    await send(page, 'say: space again')
    await expect(chat(page).getByText('space again', { exact: true }).first()).toBeVisible()
    await expect(chat(page)).toContainText('hello')
  })

  test('a file that finds no room waits with its message, and goes once there is space', async ({ signedIn: page, server }) => {
    test.slow()
    const id = await newSession(page, 'say: hello')
    await expect(status(page)).toHaveAccessibleName('Status: Ready')
    // Room for the agent's own notes, and none for the file.
    const room = '$(( $(df --output=avail --block-size=1 /root | tail -1) - 6 * 1024 * 1024 ))'
    server.cli('session', 'exec', id, '--', 'sh', '-c', `head -c ${room} /dev/zero > /root/fill`)
    const dialog = page.waitForEvent('filechooser')
    await page.getByRole('button', { name: 'Add files' }).click()
    const content = Buffer.alloc(12 * 1024 * 1024, 'The password is swordfish.\n')
    await (await dialog).setFiles([{ name: 'long.txt', mimeType: 'text/plain', buffer: content }])
    await expect(page.getByRole('list', { name: 'Files that go with the message' })).toContainText(/12(\.\d)? MB/)
    await send(page, 'read the files')
    const queue = page.getByRole('region', { name: 'Queued messages' })
    await expect(queue).toContainText("long.txt could not be put into the sandbox: The sandbox's disk is full.")
    await expect(queue.getByRole('button', { name: 'Edit message' })).toBeEnabled()
    // It waits as long as it takes, and others pass it.
    await send(page, 'say: not held up')
    await expect(chat(page).getByText('not held up', { exact: true }).first()).toBeVisible()
    await page.reload()
    await expect(queue).toContainText('long.txt')
    server.cli('session', 'exec', id, '--', 'rm', '/root/fill')
    await expect(queue.getByRole('button', { name: 'Try again' })).toBeEnabled()
    await queue.getByRole('button', { name: 'Try again' }).click()
    await expect(chat(page).getByText(/The files begin with/).first()).toBeVisible()
    await expect(queue).toBeHidden()
    await expect(chat(page).getByRole('link', { name: /long\.txt/ })).toHaveCount(1)
  })
})

test('two starts at once are one', async ({ signedIn: page, server }) => {
  const id = await newSession(page, 'say: hello')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  await server.api('POST', `/sessions/${id}/stop`)
  await expect(status(page)).toHaveAccessibleName('Status: Stopped')
  await Promise.all([1, 2, 3].map(() => server.api('POST', `/sessions/${id}/start`)))
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  type Event = { event: { type: string } }
  const { data } = await server.api<{ data: Event[] }>('GET', `/sessions/${id}/events?limit=500`)
  expect(data.filter(({ event }) => event.type === 'runtime.ready')).toHaveLength(2)
})

test('a message that is too long is refused, and stays in the composer', async ({ signedIn: page }) => {
  await newSession(page, 'say: hello')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  const long = 'a'.repeat(10 * 1024 * 1024)
  await composer(page).evaluate((box: HTMLTextAreaElement, text) => {
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value')!.set!.call(box, text)
    box.dispatchEvent(new Event('input', { bubbles: true }))
  }, long)
  await composer(page).press('Enter')
  await expect(page.getByText(/too (long|large)|at most/i).first()).toBeVisible()
  await expect.poll(() => composer(page).evaluate((box: HTMLTextAreaElement) => box.value.length)).toBe(long.length)
})

test('an unknown page and a signed-out visitor are told what to do', async ({ page, server, browser }) => {
  await page.goto(`${server.url}/`)
  await expect(page.getByText(/login-link/)).toBeVisible()
  await page.goto(server.loginLink)
  await page.goto(`${server.url}/s/ses_00000000000000000000000000000000`)
  await expect(page.getByText('This session is gone')).toBeVisible()
  // The link works once.
  const other = await browser.newContext()
  const again = await other.newPage()
  await again.goto(server.loginLink)
  await expect(again.getByText(/login-link/).first()).toBeVisible()
  await other.close()
  await expect(chat(page)).toHaveCount(0)
})
