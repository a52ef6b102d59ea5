// The directory of accounts (PLC), in memory. Accounts that exist can do without it.
const plc = require('@did-plc/server')

const port = Number(process.env.PLC_PORT)
plc.PlcServer.create({ db: plc.Database.mock(), port })
  .start()
  .then(() => console.log('listening'))
