export default function Arrived() {
  return <h1>Arrived</h1>
}
