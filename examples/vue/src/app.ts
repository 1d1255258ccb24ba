import { createSSRApp } from 'vue'
import { createMemoryHistory, createRouter, createWebHistory } from 'vue-router'
import App from './App.vue'
import Page from './Page.vue'

export function makeApp() {
  const history = typeof window === 'undefined' ? createMemoryHistory() : createWebHistory()
  const router = createRouter({ history, routes: [{ path: '/', component: Page }, { path: '/:name', component: Page }] })
  return { app: createSSRApp(App).use(router), router }
}
