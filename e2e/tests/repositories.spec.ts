// Several repositories and plain folders in one session, and which of them is the primary one.

import { AxeBuilder } from '../axe.ts'
import type { Page } from '@playwright/test'
import { readFileSync } from 'node:fs'
import { chat, composer, said, send, sessionId, status } from '../session.ts'
import { expect, type Server, test } from '../server.ts'

test.use({ setup: { policy: 'autonomous' } })

const primary = (page: Page) => page.getByRole('button', { name: /^Primary repository: / })

/** Checks what is drawn; `part` is what to check while an open menu hides the rest. */
async function look(page: Page, path: string, part = 'body') {
  await page.screenshot({ path })
  const { violations } = await new AxeBuilder({ page }).include(part).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), path).toEqual([])
}

/** Two repositories with instructions and a skill of their own. */
function twoRepositories(server: Server) {
  const files = (name: string) => ({
    'AGENTS.md': `Mention the ${name} in every answer.\n`,
    [`${name}.txt`]: `${name}\n`,
    [`.agents/skills/${name}-notes/SKILL.md`]: `---\nname: ${name}-notes\ndescription: Writes notes for the ${name}.\n---\nWrite notes.\n`,
  })
  return ['api', 'page'].map((name) => server.repository(name, files(name)))
}

/** Starts a session in `api`, with `page` and the plain folder `notes` beside it, by the page. */
async function start(page: Page, server: Server, task: string) {
  const [api, site] = twoRepositories(server)
  await page.goto(`${server.url}/new`)
  await page.getByRole('combobox', { name: 'Repository', exact: true }).fill(api!)
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Add repository' }).click()
  await page.getByRole('combobox', { name: 'Repository 2' }).fill(site!)
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Add folder' }).click()
  await page.getByRole('textbox', { name: 'Folder name 3' }).fill('notes')
  const box = page.getByRole('textbox', { name: /task/i })
  await box.fill(task)
  return box
}

async function choose(page: Page, name: string) {
  await primary(page).click()
  await page.getByRole('menuitemradio', { name: new RegExp(`^${name}`) }).click()
  await expect(primary(page)).toHaveAccessibleName(new RegExp(`: ${name}`))
}

test('the primary repository decides where everything works', async ({ signedIn: page, server, context }, info) => {
  const box = await start(page, server, 'run: pwd && cat AGENTS.md')
  await page.screenshot({ path: info.outputPath('new-several-light.png') })
  await box.press('Enter')
  await expect(page).toHaveURL(/\/s\/ses_/)
  const id = sessionId(page)
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  await expect(primary(page)).toHaveAccessibleName('Primary repository: api, branch main')
  await chat(page).getByText('pwd && cat AGENTS.md').last().click()
  await expect(said(page, /Mention the api in every answer/)).toBeVisible()
  const conversation = (await server.api<{ conversation_id: string }>('GET', `/sessions/${id}`)).conversation_id

  // By keyboard, seen in a second tab, and the conversation stays.
  const other = await context.newPage()
  await other.goto(page.url())
  await expect(primary(other)).toHaveAccessibleName(/: api/)
  await page.keyboard.press('Control+Shift+o')
  await expect(page.getByRole('menu')).toContainText('/workspace/notes · no repository')
  await look(page, info.outputPath('selector-light.png'), '[role=menu]')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await expect(primary(page)).toHaveAccessibleName(/: page/)
  await expect(primary(other)).toHaveAccessibleName(/: page/)

  await send(page, 'run: pwd && cat AGENTS.md && echo more >> page.txt')
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  await chat(page).getByText('echo more >> page.txt').last().click()
  await expect(said(page, /Mention the page in every answer/)).toBeVisible()
  const after = await server.api<{ conversation_id: string; cwd: string }>('GET', `/sessions/${id}`)
  expect(after).toMatchObject({ conversation_id: conversation, cwd: '/workspace/page' })

  // The changes are the chosen repository's, and follow it live.
  await page.getByRole('button', { name: /^Changes/ }).first().click()
  const changes = page.getByRole('region', { name: 'Changes' })
  await expect(changes.getByText('page.txt').first()).toBeVisible()
  await other.close()
  await choose(page, 'api')
  await expect(changes.getByText('No changes yet')).toBeVisible()
  await send(page, 'run: echo again >> api.txt')
  await expect(changes.getByText('api.txt').first()).toBeVisible()
  await choose(page, 'page')
  await expect(changes.getByText('page.txt').first()).toBeVisible()

  // A folder without a repository says so, and nothing that needs one pretends.
  await choose(page, 'notes')
  await expect(changes).toContainText('notes has no repository')
  await page.emulateMedia({ colorScheme: 'dark' })
  await look(page, info.outputPath('folder-dark.png'))
  await page.getByRole('button', { name: 'Hide changes' }).last().click()
  const button = page.getByRole('button', { name: /^Changes/ }).first()
  await expect(button).toHaveAttribute('aria-disabled', 'true')
  await button.hover()
  await expect(page.getByRole('tooltip')).toContainText('notes has no repository')

  // A terminal opens there.
  await page.keyboard.press('Control+j')
  const terminal = page.getByRole('region', { name: 'Terminal' })
  await expect(terminal.getByText('/workspace/notes').first()).toBeVisible()

  // On a phone the choice is in the session's menu.
  await page.setViewportSize({ width: 390, height: 844 })
  await page.getByRole('button', { name: 'Session menu' }).click()
  await look(page, info.outputPath('menu-phone-dark.png'), '[role=menu]')
  await page.getByRole('menuitemradio', { name: 'api' }).click()
  await expect.poll(async () => (await server.api<{ cwd: string }>('GET', `/sessions/${id}`)).cwd).toBe('/workspace/api')
})

test('skills are found from the primary repository', async ({ signedIn: page, server }, info) => {
  await (await start(page, server, 'say: ready')).press('Enter')
  await expect(page).toHaveURL(/\/s\/ses_/)
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  await composer(page).fill('/')
  const list = page.getByRole('listbox', { name: 'Commands' })
  await expect(list.getByRole('option', { name: /^api-notes/ })).toBeVisible()
  await expect(list.getByRole('option', { name: /^page-notes/ })).toHaveCount(0)
  await look(page, info.outputPath('commands-light.png'))
  await composer(page).fill('')
  await choose(page, 'page')
  await composer(page).fill('/notes')
  await expect(list.getByRole('option', { name: /^page-notes/ })).toBeVisible()
  await expect(list.getByRole('option', { name: /^api-notes/ })).toHaveCount(0)
  await composer(page).press('Enter')
  await expect(composer(page)).toHaveValue('$page-notes ')
})

test('what is wrong with a row is said at that row', async ({ signedIn: page, server }, info) => {
  const [api] = twoRepositories(server)
  await page.goto(`${server.url}/new`)
  await page.getByRole('combobox', { name: 'Repository', exact: true }).fill(api!)
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Add repository' }).click()
  const second = page.getByRole('combobox', { name: 'Repository 2' })
  await second.fill('/nowhere/at/all')
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Add folder' }).click()
  await page.getByRole('textbox', { name: 'Folder name 3' }).fill('.git')
  await expect(page.getByText('Use 1 to 64 letters')).toBeVisible()
  await expect(second).toHaveAttribute('aria-invalid', 'true')
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme: scheme })
    await look(page, info.outputPath(`new-wrong-${scheme}.png`))
    await page.setViewportSize({ width: 390, height: 844 })
    await look(page, info.outputPath(`new-wrong-phone-${scheme}.png`))
    await page.setViewportSize({ width: 1440, height: 900 })
  }
  // The server says the same, at the same place.
  await page.getByRole('textbox', { name: 'Folder name 3' }).fill('notes')
  await page.getByRole('textbox', { name: /task/i }).fill('say: x')
  await page.getByRole('textbox', { name: /task/i }).press('Enter')
  await expect(second).toHaveAttribute('aria-invalid', 'true')
  await page.getByRole('button', { name: 'Remove /nowhere/at/all' }).click()
  // Start in the plain folder.
  await page.getByRole('radio', { name: 'Start in notes' }).check()
  await page.getByRole('textbox', { name: /task/i }).press('Enter')
  await expect(page).toHaveURL(/\/s\/ses_/)
  const session = await server.api<{ cwd: string; repository: unknown; workspaces: unknown[] }>(
    'GET',
    `/sessions/${sessionId(page)}`,
  )
  expect(session).toMatchObject({ cwd: '/workspace/notes', repository: null })
  expect(session.workspaces).toHaveLength(2)
  await expect(status(page)).toHaveAccessibleName(/Ready/)
})

test('the TUI opens in a plain folder without a question', async ({ signedIn: page, server }) => {
  await page.goto(`${server.url}/new`)
  await page.getByRole('combobox', { name: 'Repository', exact: true }).fill('')
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Add folder' }).click()
  await page.getByRole('textbox', { name: 'Folder name' }).fill('scratch')
  await page.getByRole('textbox', { name: /task/i }).fill('say: hello from scratch')
  await page.getByRole('textbox', { name: /task/i }).press('Enter')
  await expect(said(page, 'hello from scratch')).toBeVisible()
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  await page.keyboard.press('Control+Shift+e')
  const tui = page.getByLabel('Codex\'s own interface')
  await expect(tui.getByText('/workspace/scratch').first()).toBeVisible()
  await expect(tui.getByText(/trust/i)).toHaveCount(0)
})

test('a profile offers several', async ({ signedIn: page, server }) => {
  const [api, site] = twoRepositories(server)
  const config = readFileSync(`${server.dataDir}/mistle.toml`, 'utf8')
  await server.kill()
  const profile = config
    .replace(/^listen.*$/m, '')
    .replace(/\[runtimes[\s\S]*$/, '')
    .replace(/repositories = .*/, `repositories = [{ source = "${api}" }, { source = "${site}" }]\nworkspaces = ["notes"]`)
  server.writeConfig(profile)
  await server.start()
  await page.goto(server.loginLink)
  await page.goto(`${server.url}/new`)
  await expect(page.getByRole('combobox', { name: 'Repository', exact: true })).toHaveValue(api!)
  await expect(page.getByRole('combobox', { name: 'Repository 2' })).toHaveValue(site!)
  await expect(page.getByRole('textbox', { name: 'Folder name 3' })).toHaveValue('notes')
  // The runtime's models are known from the first session on, whatever becomes of it.
  await page.getByRole('textbox', { name: /task/i }).fill('say: ready')
  await page.getByRole('textbox', { name: /task/i }).press('Enter')
  await expect(page).toHaveURL(/\/s\/ses_/)
  await expect(status(page)).toHaveAccessibleName(/Ready/)
  const id = sessionId(page)
  await server.api('DELETE', `/sessions/${id}`)
  await page.goto(`${server.url}/new`)
  await expect(page.getByRole('button', { name: /^Model: / })).toBeVisible()
})
