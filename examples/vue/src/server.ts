import { renderToString } from 'vue/server-renderer'
import { makeApp } from './app'

const { app, router } = makeApp()
await router.push('/')
console.log(await renderToString(app))
