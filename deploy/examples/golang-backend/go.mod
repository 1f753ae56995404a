module kinora.example/golang-backend

go 1.19
