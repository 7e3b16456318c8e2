// Files that a person gives to the agent: by button, paste and drop, before and after a session
// exists, on their way and in the conversation.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { deflateSync, crc32 } from 'node:zlib'
import { chat, composer, newSession, said, send, status } from '../session.ts'
import { expect, test } from '../server.ts'

test.use({ setup: { policy: 'autonomous' } })

const LIMIT = 'limits.attachment_mib = 2\nlimits.unsent_attachments_mib = 8\n'

/** A PNG of one colour. */
function png(width: number, height: number) {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
    const length = Buffer.alloc(4)
    length.writeUInt32BE(data.length)
    const sum = Buffer.alloc(4)
    sum.writeUInt32BE(crc32(body))
    return Buffer.concat([length, body, sum])
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(width * 3, 'Mst')])
  const pixels = deflateSync(Buffer.concat(Array.from({ length: height }, () => row)))
  const signature = Buffer.from('89504e470d0a1a0a', 'hex')
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))])
}

type Given = { name: string; mimeType: string; buffer: Buffer }
const IMAGE: Given = { name: 'screenshot.png', mimeType: 'image/png', buffer: png(120, 80) }
const NOTES: Given = { name: 'the notes.txt', mimeType: 'text/plain', buffer: Buffer.from('The password is swordfish.\n') }

async function choose(page: Page, files: Given[]) {
  const dialog = page.waitForEvent('filechooser')
  await page.getByRole('button', { name: 'Add files' }).click()
  await (await dialog).setFiles(files)
}

/** What a browser does when files are pasted or dropped. */
async function transfer(page: Page, files: Given[], events: string[], target: string) {
  const given = files.map(({ name, mimeType, buffer }) => ({ name, mimeType, data: buffer.toString('base64') }))
  await page.locator(target).first().evaluate(
    (element, [given, events]) => {
      const data = new DataTransfer()
      for (const { name, mimeType, data: bytes } of given) {
        const content = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))
        data.items.add(new File([content], name, { type: mimeType }))
      }
      for (const event of events) {
        const init = { bubbles: true, cancelable: true }
        element.dispatchEvent(
          event === 'paste'
            ? new ClipboardEvent(event, { ...init, clipboardData: data })
            : new DragEvent(event, { ...init, dataTransfer: data }),
        )
      }
    },
    [given, events] as const,
  )
}

function chips(page: Page) {
  return page.getByRole('list', { name: 'Files that go with the message' }).getByRole('listitem')
}

async function accessible(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
}

test('an image is seen by the model and a file is read by the agent', async ({ signedIn: page }) => {
  await newSession(page, 'say: hello')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')

  await choose(page, [IMAGE])
  await expect(chips(page)).toHaveText([/screenshot\.png.*\d+ bytes/])
  await send(page, 'describe the images')
  await expect(chips(page)).toHaveCount(0)
  await expect(said(page, /I see 1/)).toBeVisible()
  await expect(said(page, /image\/png, 120 × 80/)).toBeVisible()
  const image = chat(page).getByRole('img', { name: 'screenshot.png' })
  await expect(image).toBeVisible()
  expect(await image.evaluate((img: HTMLImageElement) => img.naturalWidth)).toBe(120)

  // Pasted, and sent without a word.
  await transfer(page, [IMAGE], ['paste'], '.composer textarea')
  await expect(chips(page)).toHaveCount(1)
  await composer(page).press('Enter')
  await expect(chat(page).getByText(/image\/png, 120 × 80/)).toHaveCount(2)

  // Dropped anywhere on the conversation.
  await transfer(page, [NOTES], ['dragenter', 'dragover'], '.transcript-scroll')
  await expect(page.getByText('Drop files to send them with the message')).toBeVisible()
  await transfer(page, [NOTES], ['drop'], '.transcript-scroll')
  await expect(page.getByText('Drop files to send them with the message')).toBeHidden()
  await expect(chips(page)).toHaveText([/the notes\.txt.*27 bytes/])
  await accessible(page)
  await send(page, 'read the files')
  await expect(said(page, /The files begin with/)).toBeVisible()
  await expect(chat(page)).toContainText('The password is swordfish.')
  // The person sees the file and not how the agent was told of it.
  const sent = chat(page).getByRole('link', { name: /the notes\.txt/ })
  await expect(sent).toBeVisible()
  await expect(chat(page)).not.toContainText('Attached files')
  const download = page.waitForEvent('download')
  await sent.click()
  expect((await download).suggestedFilename()).toBe('the notes.txt')
  await accessible(page)

  // The record has it all after a reload.
  await page.reload()
  await expect(image.first()).toBeVisible()
  await expect(sent).toBeVisible()
})

test('files come before the first message, and survive a reload', async ({ signedIn: page }) => {
  await page.goto(new URL('/new', page.url()).href)
  await choose(page, [IMAGE, NOTES])
  await expect(chips(page)).toHaveText([/screenshot\.png\s*\d+ bytes/, /the notes\.txt\s*27 bytes/])
  await page.reload()
  await expect(chips(page)).toHaveText([/screenshot\.png\s*\d+ bytes/, /the notes\.txt\s*27 bytes/])
  await accessible(page)
  await page.getByRole('button', { name: 'Remove screenshot.png' }).click()
  await expect(chips(page)).toHaveCount(1)
  await page.getByRole('combobox', { name: 'Repository' }).fill('')
  const task = page.getByRole('textbox', { name: /task/i })
  await task.fill('read the files')
  await task.press('Enter')
  await expect(page).toHaveURL(/\/s\/ses_/)
  await expect(said(page, /The files begin with/)).toBeVisible()
  await expect(chat(page)).toContainText('The password is swordfish.')
  await page.goto(new URL('/new', page.url()).href)
  await expect(page.getByRole('textbox', { name: /task/i })).toBeVisible()
  await expect(chips(page)).toHaveCount(0)
})

test('an upload that takes its time holds the message up, visibly; one that fails is tried again', async ({
  signedIn: page,
}) => {
  await newSession(page, 'say: hello')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  let answers: 'late' | 'broken' = 'late'
  await page.route('**/api/v1/attachments?*', async (route) => {
    if (answers === 'broken') return route.abort('connectionreset')
    await held
    return route.continue()
  })
  await choose(page, [NOTES])
  await expect(chips(page).getByRole('progressbar')).toBeVisible()
  await send(page, 'read the files')
  await expect(page.getByRole('button', { name: 'Sends after 1 upload' })).toBeVisible()
  await expect(composer(page)).toHaveValue('read the files')
  await accessible(page)
  // It goes wherever the person is by then.
  await page.keyboard.press('Control+Shift+k')
  await expect(page.getByRole('heading', { name: 'New conversation' })).toBeVisible()
  await expect(composer(page)).toHaveValue('')
  release()
  await page.goBack()
  await expect(said(page, /The files begin with/)).toBeVisible()
  await expect(chat(page)).toContainText('The password is swordfish.')
  await expect(composer(page)).toHaveValue('')
  await expect(chips(page)).toHaveCount(0)

  answers = 'broken'
  await choose(page, [NOTES])
  await expect(chips(page)).toContainText('The server did not answer')
  await composer(page).fill('read the files')
  await expect(page.getByText('Upload the file that failed again, or remove it, to send.')).toBeVisible()
  await expect(page.getByRole('button', { name: 'Send', exact: true })).toBeDisabled()
  await accessible(page)
  answers = 'late'
  await page.getByRole('button', { name: 'Upload the notes.txt again' }).click()
  await expect(chips(page)).toHaveText([/27 bytes/])
  await expect(page.getByRole('button', { name: 'Send', exact: true })).toBeEnabled()

  // Removed while it is uploaded: nothing is left, and the message goes without it.
  await page.unroute('**/api/v1/attachments?*')
  await page.route('**/api/v1/attachments?*', () => undefined)
  await choose(page, [IMAGE])
  await page.getByRole('button', { name: 'Cancel the upload of screenshot.png' }).click()
  await expect(chips(page)).toHaveCount(1)
})

test('a queued message keeps its files until it goes', async ({ signedIn: page }) => {
  await newSession(page, 'slow stream 120 every 150ms')
  await expect(said(page, /Line 2 of 120/)).toBeVisible()
  await choose(page, [NOTES, IMAGE])
  await expect(chips(page)).toHaveText([/27 bytes/, /bytes/])
  await composer(page).fill('read the files')
  await composer(page).press('Tab')
  const queue = page.getByRole('region', { name: 'Queued messages' })
  await expect(queue).toContainText('the notes.txt')
  await expect(queue).toContainText('screenshot.png')
  await page.reload()
  await expect(queue).toContainText('the notes.txt')
  await accessible(page)
  await expect(said(page, /The files begin with/)).toBeVisible()
  await expect(queue).toBeHidden()
})

test('a failed turn is tried again with its files', async ({ signedIn: page, server }) => {
  test.slow()
  const id = await newSession(page, 'say: hello')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  await choose(page, [NOTES])
  await expect(chips(page)).toHaveText([/27 bytes/])
  await send(page, 'fail 401: not today')
  const failed = page.getByRole('region', { name: 'Turn failed' })
  await expect(failed).toHaveCount(1, { timeout: 90_000 })
  await failed.getByRole('button', { name: 'Try again' }).click()
  // It fails again; what matters is what was said.
  await expect(failed).toHaveCount(2, { timeout: 90_000 })
  await expect(chat(page).getByRole('link', { name: /the notes\.txt/ })).toHaveCount(2)

  type Body = { kind: string; text?: string; attachments?: { id: string; name: string }[] }
  type Event = { event: { type: string; item?: { body: Body } } }
  const { data } = await server.api<{ data: Event[] }>('GET', `/sessions/${id}/events?limit=500`)
  const said = data.flatMap(({ event }) =>
    event.type === 'item.completed' && event.item?.body.kind === 'user_message' ? [event.item.body] : [],
  )
  const [, first, again] = said
  expect(again).toMatchObject({ text: 'fail 401: not today', attachments: [{ name: 'the notes.txt' }] })
  expect(again!.attachments).toEqual(first!.attachments)
  // The file was in the sandbox already, and is there once.
  expect(server.cli('session', 'exec', id, '--', 'sh', '-c', 'cat /root/attachments/*/*')).toBe('The password is swordfish.\n')
  await page.reload()
  await expect(chat(page).getByRole('link', { name: /the notes\.txt/ })).toHaveCount(2)
})

test('who leaves in the middle of an upload is asked first, and keeps what is there', async ({ signedIn: page }) => {
  await newSession(page, 'say: hello')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  // One that never gets through.
  await page.route(/attachments\?name=screenshot/, () => undefined)
  await choose(page, [NOTES, IMAGE])
  await expect(chips(page).getByRole('progressbar')).toHaveCount(1)
  await expect(chips(page)).toHaveText([/the notes\.txt\s*27 bytes/, /screenshot\.png/])

  const leave = async (how: 'accept' | 'dismiss') => {
    const asked = page.waitForEvent('dialog')
    // Not awaited by the page: the question would hold the answer up.
    await page.evaluate(() => void setTimeout(() => location.reload()))
    const dialog = await asked
    expect(dialog.type()).toBe('beforeunload')
    await dialog[how]()
  }
  await leave('dismiss')
  await expect(chips(page)).toHaveCount(2)
  await leave('accept')
  await expect(chips(page)).toHaveText([/the notes\.txt\s*27 bytes/])

  // Nobody is asked when nothing would be lost.
  let asked = 0
  page.on('dialog', (dialog) => {
    asked += 1
    void dialog.accept()
  })
  await composer(page).fill('read the files')
  await page.reload()
  await expect(chips(page)).toHaveText([/the notes\.txt\s*27 bytes/])
  await expect(composer(page)).toHaveValue('read the files')
  expect(asked).toBe(0)
  await composer(page).press('Enter')
  await expect(said(page, /The files begin with/)).toBeVisible()
})

test.describe('with a small limit', () => {
  test.use({ setup: { policy: 'autonomous', config: LIMIT } })

  test('a file that is too large is refused at once', async ({ signedIn: page }) => {
    await newSession(page, 'say: hello')
    await expect(status(page)).toHaveAccessibleName('Status: Ready')
    const uploads: string[] = []
    page.on('request', (request) => {
      if (request.url().includes('/attachments?')) uploads.push(request.url())
    })
    await choose(page, [{ ...NOTES, name: 'huge.bin', buffer: Buffer.alloc(2 * 1024 * 1024 + 1) }])
    await expect(chips(page)).toContainText('Larger than 2 MB')
    expect(uploads).toEqual([])
    await page.getByRole('button', { name: 'Remove huge.bin' }).click()
    await expect(chips(page)).toHaveCount(0)
  })
})
