import Image from 'next/image'
import { Counter } from './counter.jsx'
import { names } from './names.js'
import { sign } from './actions.js'

export default function Page() {
  return (
    <main>
      <h1>Hello from Next</h1>
      <Counter />
      <Image src="/square.png" alt="A square" width={64} height={64} />
      <form action={sign}>
        <input name="name" aria-label="Name" />
        <button type="submit">Sign</button>
      </form>
      <ul>
        {names().map((name) => (
          <li key={name}>{name}</li>
        ))}
      </ul>
      <a href="/leave">Leave</a>
    </main>
  )
}

export const dynamic = 'force-dynamic'
