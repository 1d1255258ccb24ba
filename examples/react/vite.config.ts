import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'
import wxsign from 'wxsign/vite'

export default defineConfig({ plugins: [react(), wxsign()] })
