import { Button } from './Button.jsx'

export default { title: 'Button', component: Button }

export const Plain = { args: { label: 'Press me' } }
