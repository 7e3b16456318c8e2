// What the agent changes is reviewed beside the conversation, as a person does it.

import { AxeBuilder } from '../axe.ts'
import { readFileSync } from 'node:fs'
import type { Page } from '@playwright/test'
import { chat, composer, newSession, send, status } from '../session.ts'
import { expect, type Server, test } from '../server.ts'

test.use({ setup: { policy: 'autonomous' } })

const steps = Array.from({ length: 60 }, (_, i) => `export const step${i} = ${i};`)
const files = {
  'src/retry.js': `${steps.join('\n')}\n`,
  'src/clock.js': 'export const now = () => Date.now();\n',
  'README.md': '# Retries\n',
}

const toggle = (page: Page) => page.getByRole('button', { name: /^Changes/ })
// On a phone it is the page's main part, beside the conversation a region of its own.
const panel = (page: Page) =>
  page.getByRole('region', { name: 'Changes', exact: true }).or(page.getByRole('main', { name: 'Changes', exact: true }))
const file = (page: Page, path: string) => panel(page).getByRole('region', { name: path, exact: true })
const viewed = (page: Page, path: string) => file(page, path).getByRole('checkbox', { name: `Viewed ${path}` })
const number = (page: Page, path: string, line: number) =>
  file(page, path).locator(`td.number[data-side="new"][data-no="${line}"]`)

/** A session whose repository is there and whose agent waits. */
async function ready(page: Page, server: Server) {
  const id = await newSession(page, 'say: ready', server.repository('shop', files))
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  return { id, shell: (command: string) => server.cli('session', 'exec', id, '--', 'sh', '-c', command) }
}

test('what the agent edits shows live, is commented on, and the comment goes with the message', async ({
  signedIn: page,
  server,
}) => {
  const { shell } = await ready(page, server)
  await toggle(page).click()
  await expect(panel(page)).toContainText('No changes yet')

  await send(page, 'edit src/retry.js: export const step30 = 30; => export const step30 = 31;')
  await expect(file(page, 'src/retry.js')).toContainText('export const step30 = 31;')
  await expect(toggle(page)).toContainText('+1')
  await expect(toggle(page)).toContainText('−1')

  // Outside of a turn as well.
  shell('echo "More." >> README.md')
  await expect(file(page, 'README.md')).toContainText('More.')

  // Hidden lines are shown when they are asked for.
  await expect(number(page, 'src/retry.js', 20)).toHaveCount(0)
  await file(page, 'src/retry.js').getByRole('button', { name: 'Show 20 lines before' }).first().click()
  await expect(number(page, 'src/retry.js', 20)).toBeVisible()

  // A range, by dragging over the numbers.
  const from = (await number(page, 'src/retry.js', 30).boundingBox())!
  const to = (await number(page, 'src/retry.js', 32).boundingBox())!
  await page.mouse.move(from.x + 20, from.y + 9)
  await page.mouse.down()
  await page.mouse.move(to.x + 20, to.y + 9, { steps: 5 })
  await page.mouse.up()
  const box = panel(page).getByRole('textbox', { name: 'Comment on R30–32' })
  await box.fill('Why 31?')
  // A draft outlives the page.
  await page.reload()
  await expect(box).toHaveValue('Why 31?')
  await box.press('Control+Enter')
  await expect(panel(page).getByRole('article', { name: /src\/retry.js, R30–32/ })).toContainText('Why 31?')
  const chips = page.getByRole('list', { name: 'Comments that leave with the message' })
  await expect(chips).toContainText('retry.js R30–32')

  // It moves with its code.
  shell('sed -i "1i // Steps" src/retry.js')
  await expect(chips).toContainText('retry.js R31–33')

  await composer(page).fill('say: thanks')
  await composer(page).press('Enter')
  await expect(chips).toBeHidden()
  const sent = chat(page).getByRole('list', { name: 'Comments sent with this message' })
  await expect(sent).toContainText('src/retry.js')
  await expect(sent).toContainText('R30–32')
  await expect(sent).toContainText('export const step30 = 31;')
  await expect(sent).toContainText('Why 31?')
  // The agent was told the same.
  await expect(chat(page).locator('.agent').last()).toContainText('Why 31?')
})

test('a file is viewed until it changes, by keyboard, and the scope says against what', async ({
  signedIn: page,
  server,
}) => {
  const { shell } = await ready(page, server)
  shell('echo one >> README.md; echo "// x" >> src/clock.js; echo "// y" >> src/retry.js')
  await toggle(page).click()
  await expect(panel(page)).toContainText('0 / 3 viewed')

  await panel(page).getByRole('region', { name: 'Diffs' }).focus()
  await page.keyboard.press('v')
  await expect(viewed(page, 'README.md')).toBeChecked()
  await page.keyboard.press('j')
  await page.keyboard.press('v')
  await expect(viewed(page, 'src/clock.js')).toBeChecked()
  await expect(panel(page)).toContainText('2 / 3 viewed')
  await page.keyboard.press('n')
  await expect(page).toHaveURL(/file=src%2Fretry.js/)

  // Into the lines, two of them, a comment; Escape goes back step by step.
  await page.keyboard.press('i')
  await page.keyboard.press('Shift+K')
  await page.keyboard.press('c')
  const box = panel(page).getByRole('textbox', { name: /Comment on R60–61/ })
  await expect(box).toBeFocused()
  await page.keyboard.press('Escape')
  await expect(box).toBeHidden()

  shell('echo two >> README.md')
  await expect(viewed(page, 'README.md')).not.toBeChecked()
  await expect(file(page, 'README.md')).toContainText('two')
  await page.reload()
  await expect(panel(page)).toContainText('1 / 3 viewed')

  const scope = (name: string | RegExp) => page.getByRole('menuitemradio', { name })
  shell('git -c user.name=T -c user.email=t@example.org commit -qam Kept && echo last >> src/clock.js')
  await panel(page).getByRole('button', { name: 'Compare: Branch' }).click()
  await scope(/^Uncommitted/).click()
  await expect(file(page, 'src/clock.js')).toContainText('last')
  await expect(file(page, 'README.md')).toHaveCount(0)
  await send(page, 'create notes.txt: from the turn')
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  await panel(page).getByRole('button', { name: 'Compare: Uncommitted' }).click()
  await scope(/^Since the last turn/).click()
  await expect(file(page, 'notes.txt')).toContainText('from the turn')
  await expect(file(page, 'src/clock.js')).toHaveCount(0)
  await expect(page).toHaveURL(/scope=last_turn/)
})

test('a change is discarded and brought back, and all are downloaded as a patch', async ({
  signedIn: page,
  server,
}) => {
  const { id, shell } = await ready(page, server)
  shell('sed -i "s/step5 = 5;/step5 = 50;/; s/step50 = 50;/step50 = 5;/" src/retry.js; rm README.md')
  await toggle(page).click()
  await expect(file(page, 'README.md')).toContainText('deleted')

  await file(page, 'README.md').getByRole('button', { name: 'Actions for README.md' }).click()
  await page.getByRole('menuitem', { name: 'Discard changes to this file' }).click()
  await expect(file(page, 'README.md')).toHaveCount(0)
  expect(shell('cat README.md')).toContain('# Retries')
  await page.getByRole('button', { name: 'Undo' }).click()
  await expect(file(page, 'README.md')).toContainText('deleted')

  const retry = file(page, 'src/retry.js')
  await retry.hover()
  await retry.getByRole('button', { name: 'Discard this hunk' }).first().click()
  await expect(retry).not.toContainText('step5 = 50;')
  await expect(retry).toContainText('step50 = 5;')

  await panel(page).getByRole('button', { name: 'More for changes' }).click()
  const download = page.waitForEvent('download')
  await page.getByRole('menuitem', { name: 'Download as patch' }).click()
  const patch = readFileSync(await (await download).path(), 'utf8')
  expect(patch).toContain('deleted file mode')
  expect(patch).toContain('+export const step50 = 5;')

  // A stopped sandbox has no changes to show, and the button says so.
  await panel(page).getByRole('button', { name: 'Hide changes' }).click()
  await server.api('POST', `/sessions/${id}/stop`)
  await expect(toggle(page)).toHaveAttribute('aria-disabled', 'true')
  await toggle(page).hover()
  await expect(page.getByRole('tooltip')).toContainText('The sandbox is stopped')
})

test('the panel is readable to everybody, in both lights and on a phone', async ({ signedIn: page, server }) => {
  const { shell } = await ready(page, server)
  shell('mkdir -p .github/workflows; echo "on: push" > .github/workflows/ci.yml; git mv src/clock.js src/time.js; echo "// y" >> src/retry.js')
  await toggle(page).click()
  await expect(file(page, '.github/workflows/ci.yml')).toContainText('runs in CI')
  await expect(file(page, 'src/time.js')).toContainText('renamed')
  await number(page, 'src/retry.js', 61).click()
  await expect(panel(page).getByRole('textbox', { name: 'Comment on R61' })).toBeFocused()
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    for (const viewport of [{ width: 1440, height: 900 }, { width: 390, height: 844 }]) {
      await page.setViewportSize(viewport)
      if (viewport.width < 900) await page.getByRole('navigation', { name: 'Panes' }).getByRole('button', { name: 'Changes' }).click()
      await expect(file(page, 'src/retry.js')).toContainText('// y')
      const { violations } = await new AxeBuilder({ page }).analyze()
      expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
    }
  }
})
