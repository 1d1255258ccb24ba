import { useState } from 'react'
import { call } from 'wxsign'
import { useWxSign } from 'wxsign/react'

export function App() {
  const { state, error } = useWxSign()
  const [scanned, setScanned] = useState('')

  async function scan() {
    const { resultStr } = await call('scanQRCode', { needResult: 1 })
    setScanned(resultStr)
  }

  return (
    <>
      <p data-state={state}>{error ? `${error.message} ${error.hint}` : state}</p>
      <button disabled={state !== 'ready'} onClick={scan}>scanQRCode</button> {scanned}
      <button onClick={() => history.pushState(null, '', '/a?b=1')}>/a?b=1</button>
    </>
  )
}
