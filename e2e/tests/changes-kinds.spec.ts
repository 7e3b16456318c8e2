// Every kind of change, and every state that a repository can be in, as the panel shows them.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32, deflateSync } from 'node:zlib'
import type { Locator, Page } from '@playwright/test'
import { AxeBuilder } from '../axe.ts'
import { changes, changedFile, number, opened } from '../changes.ts'
import { newSession, status } from '../session.ts'
import { expect, type Server, test } from '../server.ts'

test.use({ setup: { policy: 'autonomous' } })

const lines = (count: number, line: (n: number) => string) => Array.from({ length: count }, (_, n) => `${line(n + 1)}\n`).join('')
const identity = '-c user.name=Test -c user.email=test@example.org'

/** A picture of one colour. */
function png(size: number, colour: readonly [number, number, number]) {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const frame = Buffer.alloc(8)
    frame.writeUInt32BE(data.length, 0)
    frame.writeUInt32BE(crc32(body), 4)
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)])
  }
  const head = Buffer.from([0, 0, 0, size, 0, 0, 0, size, 8, 2, 0, 0, 0])
  const row = Buffer.from([0, ...Array.from({ length: size }, () => colour).flat()])
  const pixels = deflateSync(Buffer.concat(Array.from({ length: size }, () => row)))
  const signature = Buffer.from([0x89, ...Buffer.from('PNG\r\n\x1a\n')])
  return Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))])
}

/** The repository before anything changes. */
function repository(server: Server) {
  const folder = server.repository('kinds', {
    'README.md': '# Kinds\n',
    'gone.js': 'export const gone = true;\n',
    'large.txt': lines(10, (n) => `old ${n}`),
    'package-lock.json': '{ "version": "0.1.0" }\n',
    'run.sh': '#!/bin/sh\necho run\n',
    'src/app.js': lines(80, (n) => `export const value${n} = ${n};`),
    'src/old-name.js': lines(20, (n) => `line ${n}`),
    'src/original.js': lines(20, (n) => `part ${n}`),
    'src/spaces.js': 'if (true) {\nreturn 1;\n}\n',
  })
  writeFileSync(join(folder, 'logo.png'), png(24, [200, 60, 40]))
  writeFileSync(join(folder, 'next.png'), png(48, [40, 90, 200]))
  const script = `
    printf '\\0\\1\\2' > data.bin
    printf 'caf\\351\\n' > "$(printf 'caf\\351.txt')"
    ln -s README.md latest
    git init -q vendor/lib
    git -C vendor/lib ${identity} commit -q --allow-empty -m First
    git add -A
    git ${identity} commit -q -m Kinds`
  execFileSync('sh', ['-ec', script], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  return folder
}

/** What a day's work leaves behind, of every kind. */
const WORK = `
  sed -i 's/value40 = 40/value40 = 41/; 70a export const more = true;' src/app.js
  sed -i 's/^return/  return/' src/spaces.js
  git mv src/old-name.js src/new-name.js
  sed -i 's/^line 3$/line three/' src/new-name.js
  cp src/original.js src/copy.js
  git add src/copy.js
  echo 'part 21' >> src/original.js
  chmod +x run.sh
  ln -sfn src latest
  rm -rf vendor/lib
  git init -q vendor/lib
  git -C vendor/lib ${identity} commit -q --allow-empty -m Second
  printf '\\0\\1\\3\\4' > data.bin
  cp next.png logo.png
  sed -i 's/0.1.0/0.2.0/' package-lock.json
  seq -f 'new %.0f' 6000 > large.txt
  printf 'caf\\351 cr\\350me\\n' > "$(printf 'caf\\351.txt')"
  rm gone.js
  mkdir -p notes .github/workflows
  echo 'Nobody added this.' > notes/todo.md
  echo 'on: push' > .github/workflows/ci.yml
  echo 'use flake' > .envrc`

async function look(page: Page, path: string) {
  await page.screenshot({ path })
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), path).toEqual([])
}

test('every kind of change and every state of a repository is shown as what it is', async ({ signedIn: page, server }, info) => {
  const id = await newSession(page, 'say: ready', repository(server))
  await expect(status(page)).toHaveAccessibleName('Status: Ready')
  const shell = (script: string) => server.cli('session', 'exec', id, '--', 'sh', '-ec', script)
  shell(WORK)
  await opened(page)
  const panel = changes(page)
  const tree = panel.getByRole('navigation', { name: 'Changed files' })
  const row = (path: string) => tree.getByTitle(path, { exact: true })
  const go = async (path: string): Promise<Locator> => {
    await row(path).click()
    await expect(row(path)).toHaveAttribute('aria-current', 'true')
    return changedFile(page, path)
  }
  const split = panel.locator('table.split')
  const unified = panel.locator('table.unified')

  await test.step('the tree says what happened to each file', async () => {
    await expect(panel).toContainText('0 / 17 viewed')
    const letters: [string, string][] = [
      ['src/app.js', 'M'], ['src/new-name.js', 'R'], ['src/copy.js', 'C'], ['gone.js', 'D'], ['notes/todo.md', 'A'],
    ]
    for (const [path, letter] of letters) await expect(row(path)).toContainText(new RegExp(`^${letter}`))
    await tree.getByRole('button', { name: 'src', exact: true }).click()
    await expect(row('src/app.js')).toBeHidden()
    await tree.getByRole('button', { name: 'src', exact: true }).click()
    await expect(row('src/app.js')).toBeVisible()
  })

  await test.step('each change is shown as what it is', async () => {
    const app = await go('src/app.js')
    await expect(app).toContainText('+2')
    await expect(app).toContainText('export const value40 = 41;')
    const renamed = await go('src/new-name.js')
    await expect(renamed).toContainText('src/old-name.js')
    await expect(renamed).toContainText('renamed')
    await expect(renamed).toContainText('line three')
    await expect(await go('src/copy.js')).toContainText('copied')
    await expect(changedFile(page, 'src/copy.js')).toContainText('src/original.js')
    const mode = await go('run.sh')
    await expect(mode).toContainText('executable')
    await expect(mode).toContainText('Only its mode changed.')
    const link = await go('latest')
    await expect(link).toContainText('link')
    await expect(link.locator('.removed .text')).toHaveText(/README\.md/)
    await expect(link.locator('.added .text')).toHaveText(/src/)
    await expect(await go('vendor/lib')).toContainText(/Submodule: [0-9a-f]{12} → [0-9a-f]{12}/)
    await expect(await go('data.bin')).toContainText('A binary file, 4 bytes.')
    await expect(await go('gone.js')).toContainText('export const gone = true;')
    await expect(changedFile(page, 'gone.js')).toContainText('deleted')
    await expect(await go('notes/todo.md')).toContainText('Nobody added this.')
    const odd = await go('caf\ufffd.txt')
    await expect(odd.locator('.added .text')).toHaveText('caf\ufffd cr\ufffdme')
  })

  await test.step('images stand side by side', async () => {
    const logo = await go('logo.png')
    const before = logo.getByRole('img', { name: 'logo.png, before' })
    const after = logo.getByRole('img', { name: 'logo.png, after' })
    await expect(logo).toContainText('Before · 24 × 24')
    await expect(logo).toContainText('After · 48 × 48')
    const [left, right] = [(await before.boundingBox())!, (await after.boundingBox())!]
    expect(left.x + left.width).toBeLessThan(right.x)
  })

  await test.step('generated and large files wait until they are asked for', async () => {
    const lock = await go('package-lock.json')
    await expect(lock).toContainText('A generated file, 23 bytes')
    await lock.getByRole('button', { name: 'Show', exact: true }).click()
    await expect(lock).toContainText('{ "version": "0.2.0" }')
    const large = await go('large.txt')
    await expect(large).toContainText(/A large diff: 6,010 lines/)
    await large.getByRole('button', { name: 'Show', exact: true }).click()
    await expect(large).toContainText('new 1')
    await large.getByRole('button', { name: /large\.txt/ }).first().click()
    await expect(large.getByRole('table')).toHaveCount(0)
  })

  await test.step('what runs by itself is counted, and gone to', async () => {
    await expect(row('.envrc')).toContainText('runs by itself')
    await expect(row('src/app.js')).not.toContainText('runs by itself')
    await panel.getByRole('button', { name: '2 files run by themselves' }).click()
    await expect(page).toHaveURL(/file=\.envrc/)
    await expect(changedFile(page, '.envrc')).toContainText('shell hook')
    await panel.getByRole('button', { name: '2 files run by themselves' }).click()
    await expect(page).toHaveURL(/file=\.github%2Fworkflows%2Fci\.yml/)
    await expect(changedFile(page, '.github/workflows/ci.yml')).toContainText('runs in CI')
  })

  await test.step('white space counts, or not', async () => {
    await expect(await go('src/spaces.js')).toContainText('return 1;')
    const ignore = async () => {
      await panel.getByRole('button', { name: 'More for changes' }).click()
      await page.getByRole('menuitemcheckbox', { name: 'Ignore white space' }).click()
    }
    await ignore()
    await expect(row('src/spaces.js')).toHaveCount(0)
    await expect(row('src/app.js')).toBeVisible()
    await ignore()
    await expect(row('src/spaces.js')).toBeVisible()
  })

  await test.step('hidden lines are shown when they are asked for', async () => {
    const app = await go('src/app.js')
    await expect(number(page, 'src/app.js', 30)).toHaveCount(0)
    await app.getByRole('button', { name: 'Show 20 lines before' }).first().click()
    await expect(number(page, 'src/app.js', 30)).toBeVisible()
    await expect(number(page, 'src/app.js', 10)).toHaveCount(0)
    await app.getByRole('button', { name: 'Show all hidden lines' }).last().click()
    await expect(number(page, 'src/app.js', 55)).toBeVisible()
  })

  await test.step('two columns come with the width, and stay when they are chosen', async () => {
    await expect(unified.first()).toBeVisible()
    await expect(split).toHaveCount(0)
    const edge = (await page.getByRole('separator', { name: 'Width of the changes' }).boundingBox())!
    await page.mouse.move(edge.x + edge.width / 2, 400)
    await page.mouse.down()
    await page.mouse.move(300, 400, { steps: 4 })
    await page.mouse.up()
    await expect(split.first()).toBeVisible()
    // The width decided, so a link says nothing about it.
    await expect(page).not.toHaveURL(/view=/)
    await panel.getByRole('button', { name: 'Show in one column' }).click()
    await expect(unified.first()).toBeVisible()
    await expect(page).toHaveURL(/view=unified/)
    await page.goto(page.url().replace(/[?&]view=unified/, ''))
    await expect(unified.first()).toBeVisible()
    await expect(page).toHaveURL(/view=unified/)
    await panel.getByRole('button', { name: 'Show side by side' }).click()
    const app = await go('src/app.js')
    const cell = (text: string) => app.getByRole('cell', { name: text })
    const [left, right] = [
      (await cell('export const value40 = 40;').boundingBox())!,
      (await cell('export const value40 = 41;').boundingBox())!,
    ]
    expect(left.y).toBe(right.y)
    expect(left.x + left.width).toBeLessThanOrEqual(right.x)
  })

  await test.step('it is readable to everybody', async () => {
    const phone = { width: 390, height: 844 }
    const desk = page.viewportSize()!
    await go('.envrc')
    await look(page, info.outputPath('desk-light.png'))
    await page.emulateMedia({ colorScheme: 'dark' })
    await go('logo.png')
    await look(page, info.outputPath('desk-dark.png'))
    await page.setViewportSize(phone)
    await page.getByRole('navigation', { name: 'Panes' }).getByRole('button', { name: 'Changes' }).click()
    await expect(changedFile(page, '.envrc')).toContainText('use flake')
    await look(page, info.outputPath('phone-dark.png'))
    await page.emulateMedia({ colorScheme: 'light' })
    await panel.getByRole('button', { name: 'Show file tree' }).click()
    await row('logo.png').click()
    await expect(tree).toBeHidden()
    await look(page, info.outputPath('phone-light.png'))
    await page.setViewportSize(desk)
    await opened(page)
  })

  await test.step('the state of the repository is told', async () => {
    shell('git checkout -q --detach')
    await expect(panel).toContainText('No branch is checked out')
    shell(`git checkout -q main && git add -A && git ${identity} commit -q -m Work`)
    await expect(panel).not.toContainText('No branch is checked out')
    await expect(panel).toContainText('/ 17 viewed')
    shell(`GIT_SEQUENCE_EDITOR='sed -i s/^pick/edit/' git ${identity} rebase -q -i HEAD~1`)
    await expect(panel).toContainText('A rebase is in progress.')
    shell('git rebase --abort')
    await expect(panel).not.toContainText('A rebase is in progress.')
    shell('git branch -m main work; git remote remove origin; echo more >> README.md')
    await expect(panel).toContainText('the repository has no default branch')
    await expect(changedFile(page, 'README.md')).toContainText('more')
    await expect(changedFile(page, 'src/app.js')).toHaveCount(0)
    shell('rm -rf .git vendor/lib && git init -q')
    await expect(panel).toContainText('There is no commit yet: everything is new.')
    await expect(row('run.sh')).toContainText(/^A/)
    shell('rm -rf .git')
    await page.reload()
    await expect(panel).toContainText('so there is nothing to compare with')
    await panel.getByRole('button', { name: 'Hide changes' }).click()
    const toggle = page.getByRole('button', { name: /^Changes/ })
    await expect(toggle).toHaveAttribute('aria-disabled', 'true')
    await toggle.hover()
    await expect(page.getByRole('tooltip')).toContainText('has no repository')
  })
})
