import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'
import wxsign from 'wxsign/vite'

export default defineConfig({ plugins: [vue(), wxsign()] })
