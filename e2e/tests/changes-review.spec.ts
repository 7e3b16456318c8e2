// A review: comments that live with their code, keys, marks, taking changes back, and a tree that moves meanwhile.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import type { Page } from '@playwright/test'
import { changedFile, changes, compare, number, opened, viewed } from '../changes.ts'
import { chat, composer, newSession, send, status } from '../session.ts'
import { expect, test } from '../server.ts'

test.use({ setup: { policy: 'autonomous' } })

const lines = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name} ${n + 1}\n`).join('')
const files = {
  'a.txt': lines('a', 60),
  'b.txt': lines('b', 60),
  'c.txt': lines('c', 5),
  'd.txt': lines('d', 60),
}
const COMMIT = 'git -c user.name=Test -c user.email=test@example.org commit -qam'

/** Drags over the numbers of lines. */
async function drag(page: Page, path: string, from: number, to: number, side: 'old' | 'new' = 'new') {
  const cell = number(page, path, from, side)
  const isPressable = await cell.evaluate(async (element) => {
    element.scrollIntoView({ block: 'center' })
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))
    const { left, top } = element.getBoundingClientRect()
    return element.contains(document.elementFromPoint(left + 16, top + 9))
  })
  // What is pressed while the list still scrolls is pressed.
  expect(isPressable).toBe(true)
  const position = { x: 16, y: 9 }
  await cell.hover({ position })
  await page.mouse.down()
  const last = (await number(page, path, to, side).boundingBox())!
  await page.mouse.move(last.x + position.x, last.y + position.y, { steps: 4 })
  await page.mouse.up()
}

test('a review: comments, keys, marks, changes taken back, while the tree moves', async ({
  signedIn: page,
  context,
  server,
}) => {
  const repository = server.repository('shop', files)
  const id = await newSession(page, 'say: ready', repository)
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  const shell = (script: string) => server.cli('session', 'exec', id, '--', 'sh', '-ec', script)
  shell(`sed -i 's/^a 10$/a ten/; s/^a 50$/a fifty/' a.txt
    sed -i 's/^b 5$/b five/; /^b 30$/d' b.txt
    echo 'c 6' >> c.txt
    sed -i 's/^d 20$/d twenty/' d.txt`)
  await opened(page)
  const panel = changes(page)
  const box = (where: string) => panel.getByRole('textbox', { name: `Comment on ${where}`, exact: true })
  const card = (path: string, text: string) =>
    panel.getByRole('article', { name: new RegExp(`^Comment on ${path}`) }).filter({ hasText: text })
  const chips = page.getByRole('list', { name: 'Comments that leave with the message' })
  const write = async (where: string, text: string) => {
    await box(where).fill(text)
    await box(where).press('Control+Enter')
    await expect(box(where)).toBeHidden()
  }
  const diffs = panel.getByRole('region', { name: 'Diffs' })

  await test.step('comments on ranges, of both sides', async () => {
    await expect(panel).toContainText('0 / 4 viewed')
    await drag(page, 'a.txt', 9, 11)
    await write('R9–11', 'Ten in words?')
    await drag(page, 'b.txt', 30, 30, 'old')
    await write('L30', 'Why is this gone?')
    await drag(page, 'a.txt', 50, 50)
    await write('R50', 'Fifty too?')
    await expect(chips.getByRole('listitem')).toHaveCount(3)
    await expect(chips).toContainText('a.txt R9–11')
    await expect(chips).toContainText('b.txt L30')
  })

  await test.step('they move with their code, and are outdated without it, never lost', async () => {
    shell("sed -i '1i first' a.txt")
    await expect(chips).toContainText('a.txt R10–12')
    await expect(card('a.txt', 'Ten in words?')).toContainText('R10–12')
    shell("sed -i '/fifty/d' a.txt")
    await expect(chips.getByRole('listitem').filter({ hasText: 'outdated' })).toHaveCount(1)
    await expect(card('a.txt', 'Fifty too?')).toContainText('Outdated')
    await expect(card('a.txt', 'Fifty too?').locator('pre').first()).toHaveText('a fifty')
  })

  await test.step('they are changed, deleted, and brought back', async () => {
    await card('a.txt', 'Ten in words?').getByRole('button', { name: 'Edit comment' }).click()
    await expect(box('R10–12')).toHaveValue('Ten in words?')
    await write('R10–12', 'Ten in digits!')
    await expect(card('a.txt', 'Ten in digits!')).toBeVisible()
    await card('a.txt', 'Ten in digits!').getByRole('button', { name: 'Delete comment' }).click()
    await expect(card('a.txt', 'Ten in digits!')).toHaveCount(0)
    await page.getByRole('button', { name: 'Undo' }).click()
    await expect(card('a.txt', 'Ten in digits!')).toContainText('R10–12')
    // What was typed is not lost by a key that closes the box.
    await drag(page, 'd.txt', 20, 20)
    await box('R20').fill('Not yet')
    await page.keyboard.press('Escape')
    await expect(box('R20')).toBeHidden()
    await page.getByRole('button', { name: 'Undo' }).last().click()
    await expect(box('R20')).toHaveValue('Not yet')
    await box('R20').press('Escape')
  })

  await test.step('they outlive the change that they are on, and can be edited there', async () => {
    shell('echo e > e.txt')
    await drag(page, 'e.txt', 1, 1)
    await write('R1', 'What is this for?')
    await drag(page, 'e.txt', 1, 1)
    await box('R1').fill('And this?')
    shell('rm e.txt')
    await expect(panel.getByText('On files that are not changed any more')).toBeVisible()
    await expect(box('R1')).toHaveValue('And this?')
    await box('R1').press('Escape')
    await card('e.txt', 'What is this for?').getByRole('button', { name: 'Edit comment' }).click()
    await expect(box('R1')).toHaveValue('What is this for?')
    await write('R1', 'Where did it go?')
    await card('e.txt', 'Where did it go?').getByRole('button', { name: 'Delete comment' }).click()
    await expect(panel.getByText('On files that are not changed any more')).toBeHidden()
  })

  await test.step('a comment on the old side is of the scope that it was written in', async () => {
    shell(`${COMMIT} Work && sed -i 's/^b five$/b 5!/' b.txt`)
    await compare(page, 'Uncommitted')
    await drag(page, 'b.txt', 5, 5, 'old')
    await write('L5', 'Keep the word')
    const comment = card('b.txt', 'Keep the word')
    await expect(comment.locator('xpath=ancestor::tr')).toHaveCount(1)
    await compare(page, 'Branch')
    // There, line 5 is another one.
    await expect(comment).toContainText('Uncommitted · L5')
    await expect(comment.locator('xpath=ancestor::tr')).toHaveCount(0)
    await expect(comment.locator('pre').first()).toHaveText('b five')
    await expect(card('b.txt', 'Why is this gone?').locator('xpath=ancestor::tr')).toHaveCount(1)
    await comment.getByRole('button', { name: 'Show in “Uncommitted”' }).click()
    await expect(panel.getByRole('button', { name: 'Compare: Uncommitted' })).toBeVisible()
    await expect(comment.locator('xpath=ancestor::tr')).toHaveCount(1)
    // A chip goes to its comment, wherever that is.
    await chips.getByRole('button', { name: 'b.txt L30', exact: true }).click()
    await expect(panel.getByRole('button', { name: 'Compare: Branch' })).toBeVisible()
    await expect(card('b.txt', 'Why is this gone?')).toBeInViewport({ ratio: 1 })
  })

  await test.step('they leave with the message and are read in the conversation', async () => {
    await send(page, 'say: thanks')
    await expect(chips).toBeHidden()
    const sent = chat(page).getByRole('list', { name: 'Comments sent with this message' })
    await expect(sent.getByRole('listitem')).toHaveCount(4)
    for (const text of ['L30', 'b 30', 'Why is this gone?', 'Ten in digits!', 'a fifty', 'b five'])
      await expect(sent).toContainText(text)
    await expect(status(page)).toHaveAccessibleName('Status: Ready')
    await expect(chat(page).locator('.agent').last()).toContainText('Why is this gone?')
  })

  await test.step('keys: files, marks, folds, lines, and back level by level', async () => {
    await diffs.focus()
    await page.keyboard.press('k')
    await page.keyboard.press('k')
    await expect(page).toHaveURL(/file=a\.txt/)
    await page.keyboard.press('v')
    await expect(viewed(page, 'a.txt')).toBeChecked()
    await page.keyboard.press('n')
    await expect(page).toHaveURL(/file=b\.txt/)
    await page.keyboard.press('j')
    await expect(page).toHaveURL(/file=c\.txt/)
    await page.keyboard.press('Enter')
    await expect(changedFile(page, 'c.txt').getByRole('table')).toHaveCount(0)
    // One press goes into the lines of a folded file.
    await page.keyboard.press('i')
    await expect(changedFile(page, 'c.txt').locator('tr.chosen')).toContainText('c 6')
    await page.keyboard.press('k')
    await expect(changedFile(page, 'c.txt').locator('tr.chosen')).toContainText('c 5')
    await page.keyboard.press('c')
    await expect(box('R5')).toBeFocused()
    await page.keyboard.press('Escape')
    await expect(box('R5')).toBeHidden()
    await expect(changedFile(page, 'c.txt').locator('tr.chosen')).toHaveCount(1)
    await page.keyboard.press('Escape')
    await expect(changedFile(page, 'c.txt').locator('tr.chosen')).toHaveCount(0)
    await expect(diffs).toBeFocused()
    await page.keyboard.press('j')
    await expect(page).toHaveURL(/file=d\.txt/)
  })

  await test.step('a mark is of what was looked at, and another tab has it at once', async () => {
    const other = await context.newPage()
    await other.goto(page.url())
    await expect(changes(other)).toContainText('1 / 4 viewed')
    await viewed(page, 'd.txt').check()
    await expect(changes(other)).toContainText('2 / 4 viewed')
    await other.close()

    await send(page, 'edit c.txt: c 1 => c one')
    await expect(changedFile(page, 'c.txt')).toContainText('c one')
    await expect(status(page)).toHaveAccessibleName('Status: Ready')
    await compare(page, 'Since the last turn')
    await expect(panel).toContainText('0 / 1 viewed')
    await viewed(page, 'c.txt').check()
    await expect(panel).toContainText('1 / 1 viewed')
    // The branch shows more of this file than was looked at.
    await compare(page, 'Branch')
    await expect(panel).toContainText('2 / 4 viewed')
    await viewed(page, 'c.txt').check()
    await compare(page, 'Since the last turn')
    await expect(panel).toContainText('1 / 1 viewed')
    await compare(page, 'Branch')
    await expect(panel).toContainText('3 / 4 viewed')
    // From below: what unfolds moves what stands under it.
    await viewed(page, 'd.txt').uncheck()
    await viewed(page, 'c.txt').uncheck()
  })

  await test.step('a hunk and a file are taken back, and brought back', async () => {
    const b = changedFile(page, 'b.txt')
    await expect(b).toContainText('b 5!')
    const before = shell('cat b.txt')
    const hunks = b.getByRole('button', { name: 'Discard this hunk' })
    await b.hover()
    await hunks.last().click()
    await expect(hunks).toHaveCount(1)
    expect(shell('cat b.txt')).toBe(before.replace('b 29\n', 'b 29\nb 30\n'))
    await page.getByRole('button', { name: 'Undo' }).last().click()
    // What is taken back next is what one sees: a change that the page does not show yet is refused.
    await expect(hunks).toHaveCount(2)
    expect(shell('cat b.txt')).toBe(before)
    await b.getByRole('button', { name: 'Actions for b.txt' }).click()
    await page.getByRole('menuitem', { name: 'Discard changes to this file' }).click()
    await expect.poll(() => shell('cat b.txt')).toBe(files['b.txt'])
    await expect(b).toHaveCount(0)
    await page.getByRole('button', { name: 'Undo' }).last().click()
    await expect(b).toContainText('b 5!')
    expect(shell('cat b.txt')).toBe(before)
  })

  await test.step('the patch makes of the repository what the session has', async () => {
    await panel.getByRole('button', { name: 'More for changes' }).click()
    const download = page.waitForEvent('download')
    await page.getByRole('menuitem', { name: 'Download as patch' }).click()
    const patch = await (await download).path()
    const copy = join(server.outside, 'copy')
    execFileSync('git', ['clone', '--quiet', repository, copy])
    execFileSync('git', ['-C', copy, 'apply', patch])
    const all = 'cat a.txt b.txt c.txt d.txt'
    expect(execFileSync('sh', ['-c', all], { cwd: copy, encoding: 'utf8' })).toBe(shell(all))
  })

  await test.step('what changes meanwhile moves neither what one reads nor what one writes', async () => {
    await expect(card('b.txt', 'Why is this gone?')).toBeVisible()
    await drag(page, 'd.txt', 20, 20)
    await box('R20').fill('Half a thou')
    const line = number(page, 'd.txt', 20)
    const at = (await line.boundingBox())!.y
    // Above the view: a file that unfolds because it changed, and one that is new.
    shell("sed -i 's/^a 30$/a thirty/' a.txt; seq 100 > 0.txt")
    await expect(panel).toContainText('0 / 5 viewed')
    await expect.poll(async () => Math.abs((await line.boundingBox())!.y - at)).toBeLessThan(3)
    // In the file itself: what is written goes with its line.
    shell("sed -i '1i top' d.txt")
    await expect(box('R21')).toBeFocused()
    await expect(box('R21')).toHaveValue('Half a thou')
    await page.keyboard.type('ght')
    await expect(box('R21')).toHaveValue('Half a thought')
  })
})
