import { makeApp } from './app'

const { app, router } = makeApp()
router.isReady().then(() => app.mount('#app'))
